// What an entry of the inbox changes (docs/spec.md §4). Entries come in order and
// none twice; but a page of history may have told the same before, so each of
// these is right when it is done again.
import * as api from './api'
import { login } from './login'
import { announce } from './notify'
import { conversationOf, direct, type Entry, further, gone, inRoom, type Key, type Message } from './model'
import { learnPresence } from './people'
import { amend } from './quotes'
import { go, route } from './route'
import { arrived } from './sending'
import { conversations, dropConversation, rooms, setConversation, setLast, setRoom, tell, typing } from './state'
import * as threads from './threads'
import { t } from './words'

/** What a gap or another epoch calls for: all is read again. */
let readAgain: () => void = () => {}
export const onGap = (f: () => void) => (readAgain = f)

export function apply(e: Entry): void {
  const me = login.value?.user
  if (!me) return
  switch (e.type) {
    case 'message':
      return message(e, me)
    case 'edit':
      return changed(conversationOf(e, me), e, { body: e.body ?? '', edited_at: e.sent_at })
    case 'retract':
      return retracted(e, me)
    case 'read':
      return read(e, me)
    case 'room':
      return roomChanged(e, me)
    case 'gap':
      tell(t('gap'))
      return readAgain()
    case 'error':
      return
  }
}

function message(e: Entry, me: string): void {
  const key = conversationOf(e, me)
  const c = conversations.value.get(key)
  if (e.idempotency_key && e.from === me) arrived(e.idempotency_key)
  if (c?.last && e.seq <= c.last.seq) {
    // Known from the list already, which may have been read after it was sent.
    threads.append(key, e)
    return
  }
  if (e.from === me) {
    setConversation(key, { last: e, read_seq: e.seq, unread: 0 })
  } else {
    setConversation(key, { last: e, unread: (c?.unread ?? 0) + (gone(e) ? 0 : 1) })
    stopTyping(key, e.from)
    announce(key, e)
  }
  if (e.from !== me && !e.room) void learnPeer(key, e.from)
  threads.append(key, e)
}

const learnt = new Set<string>()

/** Who has written to us may be seen from then on: whether they are there, and how far they have read. */
async function learnPeer(key: Key, user: string): Promise<void> {
  if (learnt.has(user)) return
  learnt.add(user)
  try {
    const [list] = await Promise.all([api.conversations(), learnPresence([user])])
    const peer = list.conversations.find((c) => c.with === user)?.peer
    const now = conversations.value.get(key)?.peer
    if (!peer) return
    setConversation(key, { peer: now ? further(peer, now) : peer })
  } catch {
    learnt.delete(user)
  }
}

export const forgetLearnt = () => learnt.clear()

function changed(key: Key, e: Entry, change: Partial<Message>): void {
  const id = e.ref?.['id']
  if (typeof id !== 'string') return
  threads.patch(key, id, change)
  amend(id, change)
  setLast(key, id, change)
}

function retracted(e: Entry, me: string): void {
  const key = conversationOf(e, me)
  const c = conversations.value.get(key)
  const was = threads.thread(key).value.messages.find((m) => m.id === e.ref?.['id'])
  changed(key, e, { retracted: true, body: undefined, body_base64: undefined })
  // Of a room the entry names who retracted, who need not be the author.
  const author = was?.from ?? (e.room ? undefined : e.from)
  if (c && c.unread > 0 && e.seq > c.read_seq && author !== undefined && author !== me && !(was && gone(was))) {
    setConversation(key, { unread: c.unread - 1 })
  }
}

function read(e: Entry, me: string): void {
  if (e.from === me) return markedRead(conversationOf(e, me), e.seq)
  const key = direct(e.from)
  const c = conversations.value.get(key)
  if (!c) return
  const peer = { delivered_seq: e.seq, read_seq: e.seq }
  setConversation(key, { peer: c.peer ? further(c.peer, peer) : peer })
}

/** Everything up to seq is read, here or on another device. */
export function markedRead(key: Key, seq: number): void {
  const c = conversations.value.get(key)
  const me = login.value?.user
  if (!c || seq <= c.read_seq) return
  const loaded = threads.thread(key).value
  const unread = !loaded.after && (loaded.messages[0]?.seq ?? Infinity) <= seq + 1
    ? loaded.messages.filter((m) => m.seq > seq && m.from !== me && !gone(m)).length
    : Math.min(c.unread, Math.max(0, (c.last?.seq ?? 0) - seq))
  setConversation(key, { read_seq: seq, unread })
}

export function delivered(from: string, seq: number): void {
  const key = direct(from)
  const c = conversations.value.get(key)
  if (!c) return
  const peer = c.peer ?? { delivered_seq: 0, read_seq: 0 }
  if (seq > peer.delivered_seq) setConversation(key, { peer: { ...peer, delivered_seq: seq } })
}

function roomChanged(e: Entry, me: string): void {
  const room = e.room ?? ''
  const key = inRoom(room)
  switch (e.event) {
    case 'created':
    case 'updated':
      setRoom({ ...(rooms.value.get(room) ?? { room, member_count: 1 }), title: e.title ?? '', public: e.public ?? false, history: 'all' })
      break
    case 'deleted':
      dropConversation(key)
      if (route.value === key) {
        go(null)
        tell(t('roomDeleted', { room }))
      }
      return
  }
  const leaves = e.event === 'left' || e.event === 'removed'
  if (e.user === me && leaves) {
    const known = rooms.value.get(room)
    if (known) setRoom({ ...known, role: undefined })
    if (e.event === 'removed') tell(t('youWereRemoved', { room }))
    return
  }
  if (!conversations.value.has(key)) setConversation(key, {})
  if (e.user === me && e.event === 'added' && e.from !== me) tell(t('youWereAdded', { room }))
  void refreshRoom(room)
}

export async function refreshRoom(name: string): Promise<void> {
  try {
    setRoom({ role: undefined, ...(await api.room(name)) })
  } catch {
    // Shown as it was.
  }
}

export function isTyping(key: Key, user: string): void {
  const now = Date.now()
  const here = new Map([...(typing.value.get(key) ?? [])].filter(([, until]) => until > now))
  here.set(user, now + 6000)
  typing.value = new Map(typing.value).set(key, here)
  setTimeout(() => stopTyping(key, user, Date.now()), 6100)
}

function stopTyping(key: Key, user: string, before = Infinity): void {
  const until = typing.value.get(key)?.get(user)
  if (until === undefined || until > before) return
  const here = new Map(typing.value.get(key))
  here.delete(user)
  typing.value = new Map(typing.value).set(key, here)
}

/** How far an own message has come. */
export function stage(m: Message, key: Key): 'stored' | 'delivered' | 'read' {
  const peer = conversations.value.get(key)?.peer
  if (!peer || m.room) return 'stored'
  if (m.seq <= peer.read_seq) return 'read'
  return m.seq <= peer.delivered_seq ? 'delivered' : 'stored'
}
