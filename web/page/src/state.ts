// What the page knows, as signals: a view that reads one is drawn again when it changes.
import { computed, signal } from '@preact/signals'
import type { Conversation, Key, Message, Pending, Profile, Room } from './model'
import { keyOf } from './model'

export const profile = signal<Profile | null>(null)
export const conversations = signal<ReadonlyMap<Key, Conversation>>(new Map())
export const moreConversations = signal(false)
export const loaded = signal<'loading' | 'ready' | 'failed'>('loading')
export const rooms = signal<ReadonlyMap<string, Room>>(new Map())
export const blocked = signal<ReadonlySet<string>>(new Set())
export const pending = signal<readonly Pending[]>([])
export const link = signal<'connecting' | 'online' | 'offline'>('connecting')
/** Quiet news for the user, shown for a few seconds and read out. */
export const notice = signal<{ text: string; n: number; bad?: boolean } | null>(null)
/** What a screen reader says next. */
export const spoken = signal('')
/** Who is typing where, until when. */
export const typing = signal<ReadonlyMap<Key, ReadonlyMap<string, number>>>(new Map())

let notices = 0
export function tell(text: string, bad = false): void {
  notice.value = { text, n: ++notices, bad }
}

/** The time of a conversation's last message, or of what waits to be sent there. */
const moved = (c: Conversation) => {
  const waiting = pending.value.findLast((p) => p.conversation === keyOf(c))
  const at = c.last?.sent_at ?? ''
  return waiting && waiting.at > at ? waiting.at : at
}

export const sorted = computed(() =>
  [...conversations.value.values()].map((c) => ({ c, at: moved(c) })).sort((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : 0)).map((x) => x.c),
)

export const unread = computed(() => [...conversations.value.values()].reduce((n, c) => n + c.unread, 0))

export function setConversation(key: Key, change: Partial<Conversation>): void {
  const before = conversations.value.get(key) ?? blank(key)
  conversations.value = new Map(conversations.value).set(key, { ...before, ...change })
}

export function dropConversation(key: Key): void {
  const next = new Map(conversations.value)
  next.delete(key)
  conversations.value = next
}

export function setRoom(room: Room): void {
  const before = rooms.value.get(room.room)
  rooms.value = new Map(rooms.value).set(room.room, { ...before, ...room })
}

function blank(key: Key): Conversation {
  const name = key.slice(2)
  return key.startsWith('r/')
    ? { room: name, unread: 0, read_seq: 0 }
    : { with: name, unread: 0, read_seq: 0, peer: { delivered_seq: 0, read_seq: 0 } }
}

/** Puts a changed message in the place of the last one, if it is that. */
export function setLast(key: Key, id: string, change: Partial<Message>): void {
  const c = conversations.value.get(key)
  if (c?.last?.id === id) setConversation(key, { last: { ...c.last, ...change } })
}
