// What lies behind a conversation's name: a person, or a room with its members.
import { useEffect, useState } from 'preact/hooks'
import * as api from '../api'
import { refreshRoom } from '../entries'
import { login, Refused } from '../login'
import { isName, isRoom, type Key, nameOf, type Role, type Room } from '../model'
import { titleOf } from '../notify'
import { nameFor, presences } from '../people'
import { go } from '../route'
import { blocked, conversations, dropConversation, rooms, setRoom, tell } from '../state'
import { sentence, t, whenOf } from '../words'
import { Avatar } from './Avatar'
import { sure } from './Confirm'
import { Field } from './Field'
import { Icon } from './Icon'
import { complain } from './ThreadView'

export function Details({ of, onClose, onGone }: { of: Key; onClose: () => void; onGone: () => void }) {
  return (
    <aside class="side" aria-label={t('details')}>
      <header class="bar">
        <h2>{t('details')}</h2>
        <button type="button" class="round" aria-label={t('close')} title={t('close')} onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      <div class="side-body" tabIndex={0} role="region" aria-label={t('details')}>
        <div class="portrait">
          <Avatar of={of} />
          <h3 dir="auto">{titleOf(of)}</h3>
          <p class="quiet">{isRoom(of) ? nameOf(of) : '@' + nameOf(of)}</p>
        </div>
        {isRoom(of) ? <RoomDetails name={nameOf(of)} onGone={onGone} /> : <PersonDetails user={nameOf(of)} />}
      </div>
    </aside>
  )
}

function PersonDetails({ user }: { user: string }) {
  const p = presences.value.get(user)
  const is = blocked.value.has(user)
  const change = async () => {
    if (!is && !(await sure(t('blockQuestion', { who: nameFor(user) }), t('block')))) return
    try {
      await (is ? api.unblock(user) : api.block(user))
      const next = new Set(blocked.value)
      if (is) next.delete(user)
      else next.add(user)
      blocked.value = next
    } catch (e) {
      complain(e)
    }
  }
  return (
    <section class="section">
      {p && <p class="quiet centre">{p.online ? t('online') : p.last_seen ? t('lastSeen', { when: whenOf(p.last_seen) }) : ''}</p>}
      {user !== login.value?.user && (
        <button type="button" class={`wide ${is ? 'secondary' : 'danger-quiet'}`} onClick={() => void change()}>
          {t(is ? 'unblock' : 'block')}
        </button>
      )}
    </section>
  )
}

const rights: Record<Role, readonly Role[]> = {
  owner: ['owner', 'admin', 'member', 'reader'],
  admin: ['member', 'reader'],
  member: [],
  reader: [],
}

function RoomDetails({ name, onGone }: { name: string; onGone: () => void }) {
  const room = rooms.value.get(name)
  useEffect(() => void refreshRoom(name), [name])
  if (!room) return <p class="quiet centre">{t('loading')}</p>
  const mine = room.role ? rights[room.role] : []
  return (
    <>
      {mine.length > 0 && <RoomSettings room={room} />}
      <section class="section">
        <h3>
          {t('membersTitle')} <span class="quiet">{room.member_count}</span>
        </h3>
        {mine.length > 0 && <AddMember room={name} />}
        <Members room={room} mine={mine} />
      </section>
      {room.role && <Leaving room={room} onGone={onGone} />}
    </>
  )
}

function RoomSettings({ room }: { room: Room }) {
  const [title, setTitle] = useState(room.title)
  const change = async (c: Parameters<typeof api.updateRoom>[1]) => {
    try {
      setRoom(await api.updateRoom(room.room, c))
      tell(t('saved'))
    } catch (e) {
      complain(e)
    }
  }
  return (
    <section class="section">
      <form
        class="line"
        onSubmit={(e) => {
          e.preventDefault()
          void change({ title: title.trim() })
        }}
      >
        <Field label={t('roomTitle')} value={title} onValue={setTitle} required={false} plain max={60} />
        <button class="secondary" disabled={title.trim() === room.title}>
          {t('save')}
        </button>
      </form>
      <label class="check">
        <input type="checkbox" checked={room.public} onChange={(e) => void change({ public: e.currentTarget.checked })} />
        {t('roomPublic')}
      </label>
      <label class="check">
        <input type="checkbox" checked={room.history === 'all'} onChange={(e) => void change({ history: e.currentTarget.checked ? 'all' : 'joined' })} />
        {t('historyAll')}
      </label>
    </section>
  )
}

function AddMember({ room }: { room: string }) {
  const [user, setUser] = useState('')
  const [fault, setFault] = useState('')
  const submit = async (e: Event) => {
    e.preventDefault()
    const u = user.trim().replace(/^@/, '').toLowerCase()
    if (!isName(u)) return setFault(t('nobodyFound', { name: u }))
    try {
      setRoom(await api.addMember(room, u))
      await refreshRoom(room)
      setUser('')
    } catch (e) {
      const code = e instanceof Refused ? e.code : undefined
      setFault(code === 'not_found' ? t('nobodyFound', { name: u }) : sentence(code))
    }
  }
  return (
    <form class="line" onSubmit={submit}>
      <Field label={t('addMember')} value={user} onValue={(v) => (setUser(v), setFault(''))} kind="name" fault={fault} max={65} />
      <button class="secondary">{t('add')}</button>
    </form>
  )
}

function Members({ room, mine }: { room: Room; mine: readonly Role[] }) {
  const last = conversations.value.get(`r/${room.room}`)?.last?.seq
  const act = async (work: Promise<Room>) => {
    try {
      setRoom(await work)
      await refreshRoom(room.room)
    } catch (e) {
      complain(e)
    }
  }
  const remove = async (user: string) => {
    if (await sure(t('removeQuestion', { who: nameFor(user) }), t('remove'))) await act(api.removeMember(room.room, user))
  }
  const more = async () => {
    const next = await api.room(room.room, room.members?.at(-1)?.user).catch(() => null)
    if (next) setRoom({ ...next, members: [...(room.members ?? []), ...(next.members ?? [])] })
  }
  return (
    <>
      <ul class="plain members">
        {room.members?.map((m) => {
          const me = m.user === login.value?.user
          const may = !me && mine.includes(m.role)
          return (
            <li key={m.user} class="line member">
              <button type="button" class="person" onClick={() => go(`u/${m.user}`)}>
                <Avatar of={`u/${m.user}`} small />
                <span class="row-text">
                  <span class="row-name" dir="auto">
                    {me ? t('you') : nameFor(m.user)}
                  </span>
                  {!me && last !== undefined && m.read_seq !== undefined && m.read_seq >= last && <span class="quiet">{t('readUpTo')}</span>}
                </span>
              </button>
              {may ? (
                <>
                  <select
                    aria-label={t('role', { who: nameFor(m.user) })}
                    value={m.role}
                    onChange={(e) => void act(api.setRole(room.room, m.user, e.currentTarget.value as Role))}
                  >
                    {mine.map((r) => (
                      <option key={r} value={r}>
                        {t(r)}
                      </option>
                    ))}
                  </select>
                  <button
                    type="button"
                    class="round"
                    aria-label={`${t('remove')}: ${nameFor(m.user)}`}
                    title={t('remove')}
                    onClick={() => void remove(m.user)}
                  >
                    <Icon name="close" size={18} />
                  </button>
                </>
              ) : (
                <span class="quiet">{t(m.role)}</span>
              )}
            </li>
          )
        })}
      </ul>
      {room.has_more && (
        <button type="button" class="link wide" onClick={() => void more()}>
          {t('more')}
        </button>
      )}
    </>
  )
}

function Leaving({ room, onGone }: { room: Room; onGone: () => void }) {
  const leave = async () => {
    if (!(await sure(t('leaveQuestion'), t('leaveRoom')))) return
    try {
      await api.leaveRoom(room.room)
      setRoom({ ...room, role: undefined })
      onGone()
    } catch (e) {
      if (e instanceof Refused && e.code === 'forbidden') tell(t('lastOwner'), true)
      else complain(e)
    }
  }
  const remove = async () => {
    if (!(await sure(t('deleteQuestion'), t('deleteRoom')))) return
    try {
      await api.deleteRoom(room.room)
      dropConversation(`r/${room.room}`)
      onGone()
    } catch (e) {
      complain(e)
    }
  }
  return (
    <section class="section">
      <button type="button" class="secondary wide" onClick={() => void leave()}>
        {t('leaveRoom')}
      </button>
      {room.role === 'owner' && (
        <button type="button" class="danger-quiet wide" onClick={() => void remove()}>
          {t('deleteRoom')}
        </button>
      )}
    </section>
  )
}
