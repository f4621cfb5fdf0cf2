// A dialogue of the browser: it keeps the focus inside, ends by Escape, and gives
// the focus back.
import type { ComponentChildren } from 'preact'
import { useEffect, useId, useRef } from 'preact/hooks'
import { notice, spoken } from '../state'
import { t } from '../words'
import { Icon } from './Icon'

export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null)
  const id = useId()
  useEffect(() => {
    const back = document.activeElement
    ref.current?.showModal()
    return () => {
      if (back instanceof HTMLElement && back.isConnected) back.focus()
    }
  }, [])
  return (
    <dialog
      ref={ref}
      aria-labelledby={id}
      onClose={onClose}
      onClick={(e) => {
        if (e.target === ref.current) ref.current?.close()
      }}
    >
      <div class="dialog">
        <header>
          <h2 id={id}>{title}</h2>
          <button type="button" class="round" aria-label={t('close')} title={t('close')} onClick={() => ref.current?.close()}>
            <Icon name="close" />
          </button>
        </header>
        <div class="dialog-body">{children}</div>
        <News />
      </div>
    </dialog>
  )
}

/** All outside of a dialogue is out of reach for a screen reader: it is told the news in here. */
function News() {
  const before = useRef({ notice: notice.peek(), spoken: spoken.peek() })
  const n = notice.value
  const s = spoken.value
  return (
    <div class="unseen" role="status" aria-live="polite">
      {n && n !== before.current.notice && <p>{n.text}</p>}
      {s && s !== before.current.spoken && <p>{s}</p>}
    </div>
  )
}
