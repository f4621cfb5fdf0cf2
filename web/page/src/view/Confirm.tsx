// A question before what cannot be taken back.
import { signal } from '@preact/signals'
import { t } from '../words'
import { Dialog } from './Dialog'

interface Question {
  text: string
  yes: string
  answer: (yes: boolean) => void
}

const question = signal<Question | null>(null)

/** Asks; resolves when the user has decided. */
export function sure(text: string, yes: string): Promise<boolean> {
  return new Promise((answer) => (question.value = { text, yes, answer }))
}

export function Confirm() {
  const q = question.value
  if (!q) return null
  const decide = (yes: boolean) => {
    if (question.value !== q) return
    question.value = null
    q.answer(yes)
  }
  return (
    <Dialog title={q.yes} onClose={() => decide(false)}>
      <p>{q.text}</p>
      <div class="buttons">
        <button type="button" class="secondary" onClick={() => decide(false)}>
          {t('cancel')}
        </button>
        <button type="button" class="danger" onClick={() => decide(true)}>
          {q.yes}
        </button>
      </div>
    </Dialog>
  )
}
