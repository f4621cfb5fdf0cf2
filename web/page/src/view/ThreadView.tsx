// One conversation: its head, its messages, and where one writes.
import { useEffect, useRef, useState } from 'preact/hooks'
import * as api from '../api'
import { refreshRoom } from '../entries'
import { login, Refused } from '../login'
import { isRoom, type Key, type Message, nameOf } from '../model'
import { titleOf } from '../notify'
import { nameFor, presences } from '../people'
import { go } from '../route'
import { blocked, rooms, tell, typing } from '../state'
import { Gone, jump } from '../threads'
import { sentence, t, whenOf } from '../words'
import { Avatar } from './Avatar'
import { Composer } from './Composer'
import { Icon } from './Icon'
import { Messages } from './Messages'

export interface Writing {
  kind: 'reply' | 'edit'
  message: Message
}

interface Props {
  of: Key
  onDetails: () => void
  onSearch: () => void
}

export function ThreadView({ of, onDetails, onSearch }: Props) {
  const [writing, setWriting] = useState<Writing | null>(null)
  const end = useRef<() => void>(() => {})
  return (
    <main class="thread" aria-label={t('messagesOf', { who: titleOf(of) })}>
      <Head of={of} onDetails={onDetails} onSearch={onSearch} />
      <Messages of={of} end={end} onReply={(message) => setWriting({ kind: 'reply', message })} onEdit={(message) => setWriting({ kind: 'edit', message })} />
      <Typing of={of} />
      <Foot of={of} writing={writing} onDone={() => setWriting(null)} onEdit={(message) => setWriting({ kind: 'edit', message })} onSent={() => end.current()} />
    </main>
  )
}

function Head({ of, onDetails, onSearch }: Props) {
  const me = login.value?.user
  const back = useRef<HTMLButtonElement>(null)
  useEffect(() => {
    // On a phone the list is gone: whoever goes by keyboard or screen reader starts here.
    if (back.current?.offsetParent) back.current.focus({ preventScroll: true })
  }, [])
  return (
    <header class="bar">
      <button ref={back} type="button" class="round back" aria-label={t('back')} title={t('back')} onClick={() => go(null)}>
        <Icon name="back" />
      </button>
      <button type="button" class="who" onClick={onDetails} title={t('details')}>
        <Avatar of={of} small />
        <span class="who-text">
          <h2 dir="auto">{of === `u/${me}` ? t('notes') : titleOf(of)}</h2>
          <Under of={of} />
        </span>
      </button>
      <button type="button" class="round" aria-label={t('searchHere')} title={t('searchHere')} onClick={onSearch}>
        <Icon name="search" />
      </button>
      <button type="button" class="round" aria-label={t('details')} title={t('details')} onClick={onDetails}>
        <Icon name="info" />
      </button>
    </header>
  )
}

/** A room's size, or a person's presence. The line is always there, so that nothing jumps. */
function Under({ of }: { of: Key }) {
  const name = nameOf(of)
  if (isRoom(of)) {
    const n = rooms.value.get(name)?.member_count
    return <span class="under">{n === undefined ? '\u00a0' : t(n === 1 ? 'member1' : 'members', { n })}</span>
  }
  const p = presences.value.get(name)
  const state = p?.online ? t('online') : p?.last_seen ? t('lastSeen', { when: whenOf(p.last_seen) }) : ''
  const user = nameFor(name) === name ? '' : '@' + name
  return <span class={`under${p?.online ? ' accent' : ''}`}>{[user, state].filter(Boolean).join(' · ') || '\u00a0'}</span>
}

function Typing({ of }: { of: Key }) {
  const who = [...(typing.value.get(of)?.keys() ?? [])]
  return (
    <div class="typing" aria-live="polite">
      {who.length === 1 && t('typing1', { who: nameFor(who[0]!) })}
      {who.length > 1 && t('typing2')}
    </div>
  )
}

interface FootProps {
  of: Key
  writing: Writing | null
  onDone: () => void
  onSent: () => void
  onEdit: (m: Message) => void
}

function Foot({ of, ...rest }: FootProps) {
  const name = nameOf(of)
  if (!isRoom(of)) {
    if (!blocked.value.has(name)) return <Composer of={of} {...rest} />
    return (
      <div class="foot-note">
        {t('youBlocked', { who: nameFor(name) })}{' '}
        <button
          type="button"
          class="link"
          onClick={() =>
            void api
              .unblock(name)
              .then(() => (blocked.value = new Set([...blocked.value].filter((u) => u !== name))))
              .catch(complain)
          }
        >
          {t('unblock')}
        </button>
      </div>
    )
  }
  const room = rooms.value.get(name)
  if (!room || (room.role && room.role !== 'reader')) return <Composer of={of} {...rest} />
  if (room.role === 'reader') return <div class="foot-note">{t('readerOnly')}</div>
  return (
    <div class="foot-note">
      {t('notMember')}{' '}
      {room.public && (
        <button type="button" class="link" onClick={() => void api.joinRoom(name).then(() => refreshRoom(name)).catch(complain)}>
          {t('join')}
        </button>
      )}
    </div>
  )
}

/** Goes to a message; where that cannot be, says why. */
export async function lead(key: Key, id: string): Promise<void> {
  try {
    await jump(key, id)
  } catch (e) {
    if (e instanceof Gone || (e instanceof Refused && e.code === 'not_found')) tell(t('originalGone'), true)
    else complain(e)
  }
}

export function complain(e: unknown): void {
  tell(sentence(e instanceof Refused ? e.code : undefined), true)
}
