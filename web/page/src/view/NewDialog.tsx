// The beginning of something: a message to a person, a room, a public room to join.
import { useEffect, useState } from 'preact/hooks'
import * as api from '../api'
import { refreshRoom } from '../entries'
import { Refused } from '../login'
import { direct, inRoom, isName, type Key, type Room } from '../model'
import { find } from '../people'
import { go } from '../route'
import { conversations, setConversation, setRoom } from '../state'
import { sentence, t } from '../words'
import { Dialog } from './Dialog'
import { Field } from './Field'

export function NewDialog({ onClose }: { onClose: () => void }) {
  const enter = (key: Key) => {
    if (!conversations.value.has(key)) setConversation(key, {})
    onClose()
    go(key)
  }
  return (
    <Dialog title={t('newConversation')} onClose={onClose}>
      <Person onFound={(u) => enter(direct(u))} />
      <NewRoom onMade={(r) => enter(inRoom(r))} />
      <PublicRooms onJoined={(r) => enter(inRoom(r))} />
    </Dialog>
  )
}

const faultOf = (e: unknown): string => sentence(e instanceof Refused ? e.code : undefined)

function Person({ onFound }: { onFound: (user: string) => void }) {
  const [name, setName] = useState('')
  const [fault, setFault] = useState('')
  const submit = async (e: Event) => {
    e.preventDefault()
    const user = name.trim().replace(/^@/, '').toLowerCase()
    try {
      if (isName(user) && (await find(user))) return onFound(user)
      setFault(t('nobodyFound', { name: user }))
    } catch (e) {
      setFault(faultOf(e))
    }
  }
  return (
    <form class="section" onSubmit={submit}>
      <h3>{t('newMessage')}</h3>
      <div class="line">
        <Field label={t('theirName')} value={name} onValue={(v) => (setName(v), setFault(''))} kind="name" focus fault={fault} max={65} />
        <button class="primary">{t('start')}</button>
      </div>
    </form>
  )
}

function NewRoom({ onMade }: { onMade: (room: string) => void }) {
  const [name, setName] = useState('')
  const [title, setTitle] = useState('')
  const [open, setOpen] = useState(false)
  const [fault, setFault] = useState('')
  const submit = async (e: Event) => {
    e.preventDefault()
    const room = name.trim().toLowerCase()
    if (!isName(room)) return setFault(t('roomNameHint'))
    try {
      setRoom(await api.createRoom(room, title.trim(), open))
      onMade(room)
    } catch (e) {
      setFault(e instanceof Refused && e.code === 'conflict' ? t('roomTaken') : faultOf(e))
    }
  }
  return (
    <details class="section">
      <summary>{t('newRoom')}</summary>
      <form onSubmit={submit}>
        <Field label={t('roomName')} value={name} onValue={(v) => (setName(v), setFault(''))} kind="name" hint={t('roomNameHint')} fault={fault} max={64} />
        <Field label={t('roomTitle')} value={title} onValue={setTitle} required={false} max={60} />
        <label class="check">
          <input type="checkbox" checked={open} onChange={(e) => setOpen(e.currentTarget.checked)} />
          {t('roomPublic')}
        </label>
        <button class="primary">{t('create')}</button>
      </form>
    </details>
  )
}

function PublicRooms({ onJoined }: { onJoined: (room: string) => void }) {
  const [list, setList] = useState<Room[] | null>(null)
  const [fault, setFault] = useState('')
  const [open, setOpen] = useState(false)
  useEffect(() => {
    if (!open) return
    void api
      .publicRooms()
      .then((r) => setList(r.rooms))
      .catch((e) => setFault(faultOf(e)))
  }, [open])
  const join = async (room: string) => {
    try {
      setRoom(await api.joinRoom(room))
      void refreshRoom(room)
      onJoined(room)
    } catch (e) {
      setFault(faultOf(e))
    }
  }
  return (
    <details class="section" onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>{t('publicRooms')}</summary>
      {fault && <p class="fault">{fault}</p>}
      {!list && !fault && <p class="quiet">{t('loading')}</p>}
      {list?.length === 0 && <p class="quiet">{t('noPublicRooms')}</p>}
      <ul class="plain">
        {list?.map((r) => (
          <li key={r.room} class="line">
            <span class="grow">
              <strong dir="auto">{r.title || r.room}</strong>
              <span class="quiet block">
                {r.room} · {t(r.member_count === 1 ? 'member1' : 'members', { n: r.member_count })}
              </span>
            </span>
            <button type="button" class="secondary" onClick={() => void join(r.room)}>
              {t('join')}
            </button>
          </li>
        ))}
      </ul>
    </details>
  )
}
