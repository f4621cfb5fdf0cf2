// The operations over HTTP (docs/spec.md §7).
import { post, Refused, token } from './login'
import type { Conversation, Entry, Key, Message, Profile, Role, Room } from './model'
import { place } from './model'

async function call<T>(operation: string, request: object = {}): Promise<T> {
  let access = await token()
  for (let tries = 1; ; tries++) {
    try {
      return await post<T>(operation, request, access)
    } catch (e) {
      if (!(e instanceof Refused) || tries > 4) throw e
      if (e.code === 'unauthenticated' && tries === 1) access = await token(access)
      // Several tabs that are loaded at once ask for more than a user may in a second.
      else if (e.code === 'rate_limited') await new Promise((done) => setTimeout(done, 500 * tries))
      else throw e
    }
  }
}

export interface Page {
  messages: Message[]
  has_before: boolean
  has_after: boolean
}

/** Where a page of history begins or ends; none: the latest. */
export type Bound = { before: number } | { after: number } | { around: number | string } | Record<string, never>

export const history = (key: Key, bound: Bound, limit: number) => call<Page>('history', { ...place(key), ...bound, limit })

export const conversations = (before?: string) =>
  call<{ conversations: Conversation[]; has_more: boolean }>('conversations', { limit: 200, ...(before ? { before } : {}) })

export const read = (key: Key, seq: number) => call<{ read_seq: number }>('read', { ...place(key), seq })

export const edit = (id: string, body: string, key: string) => call<{ entry: Entry }>('edit', { id, body, idempotency_key: key })

export const retract = (id: string, key: string) => call<{ entry: Entry }>('retract', { id, idempotency_key: key })

export const search = (text: string, within: Key | null, before?: string) =>
  call<{ messages: Message[]; has_more: boolean }>('search', {
    text,
    limit: 50,
    ...(within ? place(within) : {}),
    ...(before ? { before } : {}),
  })

export const me = () => call<Profile>('me')
export const updateMe = (change: Partial<Pick<Profile, 'display_name' | 'receipts' | 'accept'>>) => call<Profile>('me.update', change)
export const profiles = (users: string[]) => call<{ profiles: { user: string; display_name: string }[] }>('profile', { users })
export const presence = (users: string[]) =>
  call<{ presence: { user: string; online: boolean; last_seen?: string }[] }>('presence', { users })

export const logins = () =>
  call<{ logins: { login: number; device?: string; current: boolean; used_at: string }[] }>('logins')
export const endLogin = (login: number) => call('logout', { login })
export const devices = () => call<{ devices: { device: string; connected: boolean; last_seen: string }[] }>('devices')
export const revokeDevice = (device: string) => call('device.revoke', { device })

export const blocks = () => call<{ blocks: string[] }>('blocks')
export const block = (user: string) => call('block', { user })
export const unblock = (user: string) => call('unblock', { user })

export const rooms = () => call<{ rooms: Room[] }>('room.list', { limit: 500 })
export const publicRooms = () => call<{ rooms: Room[] }>('room.list', { public: true, limit: 100 })
export const room = (name: string, after?: string) => call<Room>('room.get', { room: name, limit: 500, ...(after ? { after } : {}) })
export const createRoom = (name: string, title: string, open: boolean) =>
  call<Room>('room.create', { room: name, title, public: open, history: 'all' })
export const updateRoom = (name: string, change: { title?: string; public?: boolean; history?: 'all' | 'joined' }) =>
  call<Room>('room.update', { room: name, ...change })
export const joinRoom = (name: string) => call<Room>('room.join', { room: name })
export const leaveRoom = (name: string) => call('room.leave', { room: name })
export const deleteRoom = (name: string) => call('room.delete', { room: name })
export const addMember = (name: string, user: string) => call<Room>('room.add', { room: name, user })
export const removeMember = (name: string, user: string) => call<Room>('room.remove', { room: name, user })
export const setRole = (name: string, user: string, role: Role) => call<Room>('room.role', { room: name, user, role })
