// What the server speaks of (docs/spec.md §4 and §7), and how the page names it.

export interface Message {
  id: string
  from: string
  to?: string
  room?: string
  seq: number
  sent_at: string
  content_type?: string
  ref?: { reply?: { id?: unknown } } & Record<string, unknown>
  body?: string
  body_base64?: string
  edited_at?: string
  retracted?: boolean
  expired?: boolean
  too_large?: number
  idempotency_key?: string
}

/** One delivery on inbox/{me}. */
export interface Entry extends Message {
  type: 'message' | 'edit' | 'retract' | 'read' | 'room' | 'gap' | 'error'
  inbox_seq: number
  epoch: string
  code?: string
  topic?: string
  event?: string
  user?: string
  role?: Role
  title?: string
  public?: boolean
}

export type Role = 'owner' | 'admin' | 'member' | 'reader'

export interface Peer {
  delivered_seq: number
  read_seq: number
}

/** As far as either says. */
export const further = (a: Peer, b: Peer): Peer => ({
  delivered_seq: Math.max(a.delivered_seq, b.delivered_seq),
  read_seq: Math.max(a.read_seq, b.read_seq),
})

/** A direct conversation or a room, as the list shows it. */
export interface Conversation {
  with?: string
  room?: string
  last?: Message
  unread: number
  read_seq: number
  peer?: Peer
}

export interface Room {
  room: string
  title: string
  public: boolean
  history: 'all' | 'joined'
  role?: Role
  member_count: number
  members?: { user: string; role: Role; read_seq?: number }[]
  has_more?: boolean
}

export interface Profile {
  user: string
  display_name: string
  receipts: boolean
  accept: 'everyone' | 'known' | 'nobody'
  admin: boolean
}

/** What was written and is not known to be stored. */
export interface Pending {
  /** Its place in the outbox: the order of writing, over all tabs. */
  n: number
  key: string
  user: string
  conversation: Key
  body: string
  reply?: string
  at: string
  /** Why the server will never take it. */
  refused?: string
  /** Set when it was acknowledged, until its own copy arrives. */
  stored?: boolean
  /** Its number in the conversation, then. */
  seq?: number
}

/** A conversation in one word: u/bob or r/dev. It is the page's address, too. */
export type Key = `u/${string}` | `r/${string}`

export const direct = (user: string): Key => `u/${user}`
export const inRoom = (room: string): Key => `r/${room}`
export const isRoom = (key: Key): boolean => key.startsWith('r/')
export const nameOf = (key: Key): string => key.slice(2)

/** The field of a request that names a conversation. */
export const place = (key: Key): { with: string } | { room: string } =>
  isRoom(key) ? { room: nameOf(key) } : { with: nameOf(key) }

export const keyOf = (c: { with?: string; room?: string }): Key => (c.room ? inRoom(c.room) : direct(c.with ?? ''))

/** The conversation of a message or an entry, as me sees it. */
export function conversationOf(m: { from: string; to?: string; room?: string }, me: string): Key {
  if (m.room) return inRoom(m.room)
  return direct(m.from === me ? (m.to ?? me) : m.from)
}

export const gone = (m: Message): boolean => Boolean(m.retracted || m.expired)

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** The message that this one answers. A ref is any app's own, so it may be anything. */
export function replyOf(m: Message): string | undefined {
  const id = m.ref?.reply?.id
  return typeof id === 'string' && uuid.test(id) ? id : undefined
}

const name = /^[a-z0-9][a-z0-9._@-]{0,63}$/
export const isName = (s: string): boolean => name.test(s)
