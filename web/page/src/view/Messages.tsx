// The messages of a conversation. Of those that are loaded, a window is in the
// document: it moves when somebody comes near its edge, and what they look at stays
// where it is.
import type { RefObject } from 'preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { stage } from '../entries'
import { login } from '../login'
import { saw } from '../marks'
import { isRoom, type Key, type Message } from '../model'
import { titleOf } from '../notify'
import { refresh, show } from '../session'
import { conversations, loaded, pending } from '../state'
import { extend, latest, thread } from '../threads'
import { daysAgo, dayOf, t } from '../words'
import { Bubble, Waiting } from './Bubble'
import { Icon } from './Icon'
import { Legend } from './Mark'
import { complain } from './ThreadView'

/** How many messages are in the document, and by how many the window moves. */
const size = 150
const step = 50
/** How near an edge, in pixels, somebody is who will soon want more. */
const near = 1200

interface Props {
  of: Key
  end: RefObject<() => void>
  onReply: (m: Message) => void
  onEdit: (m: Message) => void
}

/** The index of the first message whose number is seq or above. */
function at(messages: readonly Message[], seq: number): number {
  let lo = 0
  let hi = messages.length
  while (lo < hi) {
    const mid = (lo + hi) >> 1
    if (messages[mid]!.seq < seq) lo = mid + 1
    else hi = mid
  }
  return lo
}

export function Messages({ of, end, onReply, onEdit }: Props) {
  const s = thread(of).value
  const me = login.value?.user ?? ''
  const box = useRef<HTMLDivElement>(null)
  // The window: numbers, since indexes move when older ones are loaded.
  const [win, setWin] = useState({ first: 0, last: Infinity })
  const follow = useRef(true)
  const anchor = useRef<{ id: string; top: number } | null>(null)
  const done = useRef(0)
  const [far, setFar] = useState(false)
  const acts = useRef({ onReply, onEdit })
  acts.current = { onReply, onEdit }

  let hi = win.last === Infinity ? s.messages.length : at(s.messages, win.last + 1)
  let lo = at(s.messages, win.first)
  // The document is still as it was before this drawing: what is at its top now
  // must be there afterwards.
  anchor.current = follow.current ? null : topmost(box.current)
  if (win.last === Infinity && hi - lo > size + step) {
    const top = s.messages.findIndex((m) => m.id === anchor.current?.id)
    lo = top < 0 ? hi - size : Math.max(lo, top - size / 2)
    hi = Math.min(hi, lo + size)
  }
  if (s.goal && s.goal.n !== done.current) {
    const goal = at(s.messages, s.goal.seq)
    if (goal < lo || goal >= hi || !box.current) {
      lo = Math.max(0, goal - size / 2)
      hi = Math.min(s.messages.length, lo + size)
    }
  }
  const atEnd = hi === s.messages.length && !s.after

  useLayoutEffect(() => {
    const el = box.current
    if (!el) return
    if (s.goal && s.goal.n !== done.current) {
      done.current = s.goal.n
      anchor.current = null
      const row = el.querySelector<HTMLElement>(`[data-seq="${s.goal.seq}"]`)
      setWin({ first: s.messages[lo]?.seq ?? 0, last: atEnd ? Infinity : (s.messages[hi - 1]?.seq ?? Infinity) })
      follow.current = atEnd && s.goal.seq === s.messages.at(-1)?.seq
      if (row && !follow.current) {
        row.scrollIntoView({ block: 'center' })
        if (s.goal.mark) {
          row.classList.add('marked')
          row.addEventListener('animationend', () => row.classList.remove('marked'), { once: true })
          row.focus({ preventScroll: true })
        }
      }
    }
    if (follow.current) el.scrollTop = el.scrollHeight
    else if (anchor.current) {
      const row = el.querySelector<HTMLElement>(`[data-id="${anchor.current.id}"]`)
      if (row) {
        const moved = row.offsetTop - el.scrollTop - anchor.current.top
        if (moved !== 0) el.scrollTop += moved
      }
    }
    look()
  })

  /** Looks where the user is: moves the window, loads more, marks as read. */
  function look(): void {
    const el = box.current
    if (!el || s.messages.length === 0) return
    const below = el.scrollHeight - el.clientHeight - el.scrollTop
    if (el.scrollTop < near) {
      if (lo > 0) {
        const from = Math.max(0, lo - step)
        const to = Math.min(s.messages.length, from + size)
        setWin({ first: s.messages[from]!.seq, last: to === s.messages.length && !s.after ? Infinity : s.messages[to - 1]!.seq })
        return
      }
      if (s.before) void extend(of, 'before')
    }
    if (below < near) {
      if (hi < s.messages.length) {
        const to = Math.min(s.messages.length, hi + step)
        const from = Math.max(0, to - size)
        setWin({ first: s.messages[from]!.seq, last: to === s.messages.length && !s.after ? Infinity : s.messages[to - 1]!.seq })
        return
      }
      if (s.after) void extend(of, 'after')
    }
    setFar(!atEnd || below > 400)
    const seen = lowest(el)
    if (seen) saw(of, seen)
  }

  const frame = useRef(0)
  const lookRef = useRef(look)
  lookRef.current = look
  const scrolled = () => {
    frame.current ||= requestAnimationFrame(() => {
      frame.current = 0
      const el = box.current
      if (!el) return
      follow.current = atEnd && el.scrollHeight - el.clientHeight - el.scrollTop < 48
      lookRef.current()
    })
  }

  useEffect(() => {
    const el = box.current
    if (!el) return
    // The keyboard of a phone, or a longer composer, take room from below.
    const watch = new ResizeObserver(() => {
      if (follow.current) el.scrollTop = el.scrollHeight
      lookRef.current()
    })
    watch.observe(el)
    const seen = () => lookRef.current()
    addEventListener('focus', seen)
    document.addEventListener('visibilitychange', seen)
    return () => {
      watch.disconnect()
      cancelAnimationFrame(frame.current)
      removeEventListener('focus', seen)
      document.removeEventListener('visibilitychange', seen)
    }
  }, [])

  const toEnd = () => {
    follow.current = true
    setWin({ first: s.messages.at(-size)?.seq ?? 0, last: Infinity })
    void latest(of).catch(complain)
  }
  end.current = toEnd

  const waiting = atEnd ? pending.value.filter((p) => p.conversation === of) : []
  const rows = s.messages.slice(lo, hi)
  const unread = conversations.value.get(of)?.unread ?? 0
  const failed = (s.state === 'failed' || loaded.value === 'failed') && rows.length === 0
  const empty = s.state === 'ready' && s.messages.length === 0 && waiting.length === 0
  return (
    <div class="messages-box">
      <div ref={box} class="messages" tabIndex={0} role="log" aria-live="off" aria-label={t('messagesOf', { who: titleOf(of) })} onScroll={scrolled} onKeyDown={keys}>
        {failed && (
          <div class={`empty${waiting.length === 0 ? ' grow' : ''}`} role="alert">
            <Icon name="alert" size={32} />
            <h2>{t('loadFailedTitle')}</h2>
            <p>{t('loadFailedText')}</p>
            <button type="button" class="secondary" onClick={() => void (loaded.value === 'ready' ? show(of) : refresh(false))}>
              {t('retryLoading')}
            </button>
          </div>
        )}
        {s.state === 'loading' && !failed && rows.length === 0 && <Ghosts />}
        {empty && (
          <div class="empty grow">
            <Icon name="bubble" size={32} />
            <h2>{t('emptyThreadTitle')}</h2>
            <p>{t('emptyThreadText')}</p>
            {!isRoom(of) && of !== `u/${me}` && <Legend />}
          </div>
        )}
        {rows.length > 0 && (s.before || lo > 0) && <p class="older">{t('olderLoading')}</p>}
        <ol>
          {rows.map((m, i) => {
            const before = i > 0 ? rows[i - 1] : lo > 0 ? s.messages[lo - 1] : undefined
            const after = rows[i + 1]
            // What stands above is not loaded yet: nothing is said of it that would
            // have to be taken back, and move all below, a moment later.
            const unknown = !before && s.before
            const newDay = !unknown && (!before || daysAgo(before.sent_at) !== daysAgo(m.sent_at))
            const firstNew = m.seq > s.seen && m.from !== me && (!before || before.seq <= s.seen || before.from === me) && !seenBefore(rows, i, s.seen, me)
            return (
              <Bubble
                key={m.id}
                of={of}
                m={m}
                own={m.from === me}
                day={newDay ? dayOf(m.sent_at) : ''}
                fresh={firstNew}
                head={newDay || firstNew || (!unknown && !joined(before, m))}
                tail={!after || !joined(m, after) || daysAgo(after.sent_at) !== daysAgo(m.sent_at)}
                stage={stage(m, of)}
                note={m.from === me && i === rows.length - 1 && atEnd && waiting.length === 0 && !isRoom(of) && of !== `u/${me}`}
                acts={acts}
              />
            )
          })}
          {waiting.map((p) => (
            <Waiting key={p.key} p={p} />
          ))}
        </ol>
      </div>
      {far && (
        <button type="button" class="to-end" aria-label={unread > 0 ? t('newBelow', { n: unread }) : t('toLatest')} title={t('toLatest')} onClick={toEnd}>
          <Icon name="down" />
          {unread > 0 && <span class="badge" aria-hidden="true">{unread > 99 ? '99+' : unread}</span>}
        </button>
      )}
    </div>
  )
}

/** Whether the line between old and new stands above an earlier row already. */
function seenBefore(rows: readonly Message[], i: number, seen: number, me: string): boolean {
  for (let j = i - 1; j >= 0 && rows[j]!.seq > seen; j--) if (rows[j]!.from !== me) return true
  return false
}

/** Whether b follows a so closely that they look like one. */
function joined(a: Message | undefined, b: Message): boolean {
  return a !== undefined && a.from === b.from && Date.parse(b.sent_at) - Date.parse(a.sent_at) < 5 * 60_000
}

function topmost(el: HTMLElement | null): { id: string; top: number } | null {
  if (!el) return null
  for (const row of el.querySelectorAll<HTMLElement>('[data-id]')) {
    if (row.offsetTop + row.offsetHeight > el.scrollTop) return { id: row.dataset['id']!, top: row.offsetTop - el.scrollTop }
  }
  return null
}

/** The number of the last message that is before somebody's eyes. */
function lowest(el: HTMLElement): number {
  const bottom = el.scrollTop + el.clientHeight + 8
  const rows = el.querySelectorAll<HTMLElement>('[data-seq]')
  for (let i = rows.length - 1; i >= 0; i--) {
    const row = rows[i]!
    if (row.offsetTop + Math.min(row.offsetHeight, 120) <= bottom) return Number(row.dataset['seq'])
  }
  return 0
}

/** Up and down go from message to message, Enter opens what can be done with one. */
function keys(e: KeyboardEvent): void {
  const box = e.currentTarget as HTMLElement
  const target = e.target as HTMLElement
  const here = target.closest<HTMLElement>('li[data-id]')
  if (target.closest('[role=menu]')) return
  if (e.key === 'ArrowUp' || e.key === 'ArrowDown') {
    const rows = [...box.querySelectorAll<HTMLElement>('li[data-id]')]
    const next = here ? rows[rows.indexOf(here) + (e.key === 'ArrowUp' ? -1 : 1)] : e.key === 'ArrowUp' ? rows.at(-1) : undefined
    if (!next) return
    e.preventDefault()
    next.focus()
    next.scrollIntoView({ block: 'nearest' })
  } else if (e.key === 'Enter' && here && target === here) {
    e.preventDefault()
    here.querySelector<HTMLElement>('.more')?.click()
  }
}

function Ghosts() {
  return (
    <div class="ghosts" role="status" aria-label={t('loading')}>
      {['w45', 'w60 own', 'w35', 'w55', 'w45 own', 'w70'].map((c, i) => (
        <i key={i} class={c} aria-hidden="true" />
      ))}
    </div>
  )
}
