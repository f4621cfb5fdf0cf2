// Where one writes. Enter sends, Shift+Enter begins a line; what was typed stays
// over reloads until the outbox has it.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import * as api from '../api'
import { apply } from '../entries'
import { unique } from '../ids'
import { login } from '../login'
import type { Key, Message } from '../model'
import { preview, titleOf } from '../notify'
import { nameFor } from '../people'
import { drafts } from '../prefs'
import { submit, typingIn } from '../sending'
import { tell } from '../state'
import { thread } from '../threads'
import { t } from '../words'
import { Icon } from './Icon'
import { complain, type Writing } from './ThreadView'

/** The server's own limit of a body unless it is set otherwise, in bytes. */
const most = 64 << 10

interface Props {
  of: Key
  writing: Writing | null
  onDone: () => void
  onSent: () => void
  onEdit: (m: Message) => void
}

export function Composer({ of, writing, onDone, onSent, onEdit }: Props) {
  const me = login.value?.user ?? ''
  const [text, setText] = useState(() => drafts.get(me, of))
  const area = useRef<HTMLTextAreaElement>(null)
  /** The draft, while an edit has its place. */
  const aside = useRef<string | null>(null)

  useEffect(() => {
    // On a phone the keyboard would hide what was just opened.
    if (matchMedia('(hover: hover)').matches) area.current?.focus({ preventScroll: true })
  }, [])

  // Before it is drawn: what was an edit must not be sent as a new message.
  useLayoutEffect(() => {
    if (writing?.kind === 'edit') {
      // From one edit to another: what stands there is no draft.
      aside.current ??= text
      setText(writing.message.body ?? '')
    } else if (aside.current !== null) {
      setText(aside.current)
      aside.current = null
    }
  }, [writing])

  useEffect(() => {
    if (writing) area.current?.focus()
  }, [writing])

  useLayoutEffect(() => {
    const el = area.current
    if (!el) return
    el.style.height = 'auto'
    el.style.height = Math.min(el.scrollHeight, innerHeight * 0.4) + 'px'
  }, [text])

  const cancel = () => {
    onDone()
    area.current?.focus()
  }

  const send = async () => {
    const body = text.trim()
    if (!body) return
    if (new TextEncoder().encode(body).length > most) return tell(t('tooLong'), true)
    if (writing?.kind === 'edit') {
      try {
        if (body !== writing.message.body) apply((await api.edit(writing.message.id, body, unique())).entry)
        onDone()
      } catch (e) {
        complain(e) // the text stays, as what it is: an edit
      }
      return
    }
    setText('')
    onDone()
    area.current?.focus()
    try {
      const kept = submit(of, body, writing?.message.id)
      drafts.set(me, of, '') // the outbox has it
      await kept
      onSent()
    } catch {
      setText(body)
      drafts.set(me, of, body)
      tell(t('err_internal'), true)
    }
  }

  const typed = (v: string) => {
    setText(v)
    if (writing?.kind === 'edit') return
    drafts.set(me, of, v)
    if (v.trim()) typingIn(of)
  }

  const keys = (e: KeyboardEvent) => {
    // Enter that chooses a word of an input method is none of ours.
    if (e.isComposing || e.keyCode === 229) return
    if (e.key === 'Enter' && !e.shiftKey) {
      e.preventDefault()
      void send()
    } else if (e.key === 'Escape' && writing) {
      e.preventDefault()
      e.stopPropagation()
      cancel()
    } else if (e.key === 'ArrowUp' && text === '' && !writing) {
      const own = thread(of).value.messages.findLast((m) => m.from === me && !m.retracted && m.body !== undefined)
      if (!own) return
      e.preventDefault()
      onEdit(own)
    }
  }

  return (
    <form
      class="composer"
      onSubmit={(e) => {
        e.preventDefault()
        void send()
      }}
    >
      {writing && (
        <div class="about">
          <span class="about-text">
            <strong>{writing.kind === 'edit' ? t('editing') : t('replyTo', { who: writing.message.from === me ? t('you') : nameFor(writing.message.from) })}</strong>
            <span>{preview(writing.message)}</span>
          </span>
          <button type="button" class="round" aria-label={t('cancel')} title={t('cancel')} onClick={cancel}>
            <Icon name="close" />
          </button>
        </div>
      )}
      <div class="write">
        <textarea
          ref={area}
          rows={1}
          dir="auto"
          value={text}
          placeholder={t('write')}
          aria-label={t('writeTo', { who: titleOf(of) })}
          enterkeyhint="send"
          onInput={(e) => typed(e.currentTarget.value)}
          onKeyDown={keys}
        />
        <button class="round strong send" aria-label={t(writing?.kind === 'edit' ? 'save' : 'send')} title={t(writing?.kind === 'edit' ? 'save' : 'send')} disabled={text.trim() === ''}>
          <Icon name={writing?.kind === 'edit' ? 'stored' : 'send'} />
        </button>
      </div>
    </form>
  )
}
