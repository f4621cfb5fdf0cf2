// One message.
import type { RefObject } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import * as api from '../api'
import { apply } from '../entries'
import { unique } from '../ids'
import { login } from '../login'
import { gone, isRoom, type Key, type Message, nameOf, type Pending, replyOf } from '../model'
import { preview } from '../notify'
import { nameFor } from '../people'
import { quoted } from '../quotes'
import { discard, retry } from '../sending'
import { rooms, tell } from '../state'
import { momentOf, t, timeOf } from '../words'
import { Avatar } from './Avatar'
import { sure } from './Confirm'
import { Icon } from './Icon'
import { Mark, type Stage } from './Mark'
import { Text } from './Text'
import { complain, lead } from './ThreadView'

export interface Acts {
  onReply: (m: Message) => void
  onEdit: (m: Message) => void
}

interface Props {
  of: Key
  m: Message
  own: boolean
  /** The heading of a day that begins here; empty: none does. */
  day: string
  /** The first that had not been read. */
  fresh: boolean
  /** First and last of several that look like one. */
  head: boolean
  tail: boolean
  stage: Stage
  /** Whether the mark is written out below. */
  note: boolean
  acts: RefObject<Acts>
}

export function Bubble({ of, m, own, day, fresh, head, tail, stage, note, acts }: Props) {
  const other = !own && isRoom(of)
  const reply = replyOf(m)
  return (
    <>
      {day && (
        <li class="day">
          <span>{day}</span>
        </li>
      )}
      {fresh && (
        <li class="fresh">
          <span>{t('newMessages')}</span>
        </li>
      )}
      <li class={`message${own ? ' own' : ''}${head ? ' head' : ''}${tail ? ' tail' : ''}`} data-seq={m.seq} data-id={m.id} tabIndex={-1}>
        {other && <span class="aside">{tail && <Avatar of={`u/${m.from}`} small />}</span>}
        <div class={`bubble${gone(m) ? ' gone' : ''}`}>
          {other && head && <strong class="from">{nameFor(m.from)}</strong>}
          {!other && <span class="unseen">{own ? t('you') : nameFor(m.from)}: </span>}
          {reply && !gone(m) && <Quote of={of} id={reply} />}
          <Body m={m} />
          <span class="meta">
            {m.edited_at && !gone(m) && <span>{t('edited')}</span>}
            <time dateTime={m.sent_at} title={momentOf(m.sent_at)}>
              {timeOf(m.sent_at)}
            </time>
            {own && !gone(m) && <Mark stage={stage} />}
          </span>
        </div>
        {!gone(m) && <Menu of={of} m={m} own={own} acts={acts} />}
        {note && <span class="note-below">{t(stage)}</span>}
      </li>
    </>
  )
}

function Body({ m }: { m: Message }) {
  if (gone(m)) return <em class="text">{preview(m)}</em>
  if (m.too_large) return <em class="text">{t('tooLargeMessage')}</em>
  if (m.body === undefined) return <em class="text">{preview(m)}</em>
  return <Text body={m.body} />
}

function Quote({ of, id }: { of: Key; id: string }) {
  const m = quoted(of, id)
  return (
    <button
      type="button"
      class="quote"
      disabled={m === null}
      onClick={() => void lead(of, id)}
    >
      {m ? (
        <>
          <strong>{m.from === login.value?.user ? t('you') : nameFor(m.from)}</strong>
          <span>{preview(m)}</span>
        </>
      ) : (
        <span>{m === null ? t('originalGone') : t('loading')}</span>
      )}
    </button>
  )
}

/** What is not known to be stored. */
export function Waiting({ p }: { p: Pending }) {
  const why = `refused_${p.refused}` as 'refused_forbidden'
  const known = ['forbidden', 'not_found', 'too_large'].includes(p.refused ?? '')
  return (
    <li class="message own head tail waiting" data-id={p.key} data-key={p.key} tabIndex={-1}>
      <div class="bubble">
        <span class="unseen">{t('you')}: </span>
        {p.reply && <Quote of={p.conversation} id={p.reply} />}
        <Text body={p.body} />
        <span class="meta">
          <time dateTime={p.at}>{timeOf(p.at)}</time>
          <Mark stage={p.refused ? 'refused' : p.stored ? 'stored' : 'pending'} />
        </span>
      </div>
      {p.refused && (
        <div class="refusal">
          <span>{known ? t(why, { who: nameFor(nameOf(p.conversation)) }) : t('refused_other', { code: p.refused })}</span>
          <button type="button" class="link" onClick={() => void retry(p)}>
            {t('again')}
          </button>
          <button type="button" class="link" onClick={() => void discard(p)}>
            {t('discard')}
          </button>
        </div>
      )}
    </li>
  )
}

function Menu({ of, m, own, acts }: { of: Key; m: Message; own: boolean; acts: RefObject<Acts> }) {
  const [open, setOpen] = useState<'' | 'up' | 'down'>('')
  const ref = useRef<HTMLDivElement>(null)
  const button = useRef<HTMLButtonElement>(null)
  useEffect(() => {
    if (!open) return
    ref.current?.querySelector<HTMLElement>('[role=menuitem]')?.focus()
    const away = (e: Event) => {
      if (!ref.current?.contains(e.target as Node)) setOpen('')
    }
    addEventListener('pointerdown', away)
    return () => removeEventListener('pointerdown', away)
  }, [open])
  const role = isRoom(of) ? rooms.value.get(nameOf(of))?.role : undefined
  const items: [string, () => void, boolean?][] = [[t('reply'), () => acts.current.onReply(m)]]
  if (m.body !== undefined) items.push([t('copy'), () => void copy(m.body ?? '')])
  if (own && m.body !== undefined) items.push([t('edit'), () => acts.current.onEdit(m)])
  if (own || role === 'owner' || role === 'admin') items.push([t('retract'), () => void retract(m), true])
  const close = (back: boolean) => {
    setOpen('')
    if (back) button.current?.focus()
  }
  return (
    <div class="menu-box" ref={ref}>
      <button
        ref={button}
        type="button"
        class="round more"
        aria-label={t('actions')}
        title={t('actions')}
        aria-haspopup="menu"
        aria-expanded={open !== ''}
        onClick={(e) => {
          const top = e.currentTarget.getBoundingClientRect().top
          setOpen(open ? '' : top > innerHeight / 2 ? 'up' : 'down')
        }}
      >
        <Icon name="more" />
      </button>
      {open && (
        <div role="menu" class={`menu ${open}`} aria-label={t('actions')} onKeyDown={(e) => menuKeys(e, close)}>
          {items.map(([label, act, danger]) => (
            <button
              key={label}
              type="button"
              role="menuitem"
              tabIndex={-1}
              class={danger ? 'danger-text' : ''}
              onClick={() => {
                close(false)
                act()
              }}
            >
              {label}
            </button>
          ))}
        </div>
      )}
    </div>
  )
}

function menuKeys(e: KeyboardEvent, close: (back: boolean) => void): void {
  const items = [...(e.currentTarget as HTMLElement).querySelectorAll<HTMLElement>('[role=menuitem]')]
  const here = items.indexOf(document.activeElement as HTMLElement)
  const to = { ArrowDown: here + 1, ArrowUp: here - 1 + items.length, Home: 0, End: items.length - 1 }[e.key]
  if (to !== undefined) {
    e.preventDefault()
    items[to % items.length]?.focus()
  } else if (e.key === 'Escape' || e.key === 'Tab') {
    e.preventDefault()
    e.stopPropagation()
    close(true)
  }
}

async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text)
    tell(t('copied'))
  } catch {
    tell(t('err_forbidden'), true)
  }
}

async function retract(m: Message): Promise<void> {
  if (!(await sure(t('retractQuestion'), t('retract')))) return
  try {
    apply((await api.retract(m.id, unique())).entry)
  } catch (e) {
    complain(e)
  }
}
