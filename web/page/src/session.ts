// From signing in to signing out: what is loaded when, and what follows what.
import { batch, effect } from '@preact/signals'
import * as api from './api'
import { apply, delivered, forgetLearnt, isTyping, onGap, refreshRoom } from './entries'
import * as line from './link'
import { login, signOut } from './login'
import { forgetMarks } from './marks'
import { type Conversation, conversationOf, further, inRoom, type Key, keyOf } from './model'
import * as outbox from './outbox'
import { forgetNames, forgetPeople, learnPresence, setPresence } from './people'
import { forgetQuotes } from './quotes'
import { route } from './route'
import { arrived, clear, pump, restore } from './sending'
import { blocked, conversations, loaded, moreConversations, pending, profile, rooms, setConversation, setRoom, spoken, typing } from './state'
import * as threads from './threads'

export async function begin(): Promise<void> {
  const user = login.value?.user
  if (!user) return
  loaded.value = 'loading'
  onGap(() => void refresh(true))
  await restore(user).catch(() => {})
  line.start({
    entry: apply,
    signal(s) {
      if (s.type === 'delivered' && s.seq) delivered(s.from, s.seq)
      if (s.type === 'signal' && s.body === 'typing' && s.from !== user) isTyping(conversationOf(s, user), s.from)
    },
    presence: (p) => setPresence(p.user, { online: p.online, ...(p.last_seen ? { last_seen: p.last_seen } : {}) }),
    ready(fresh) {
      void restore(user)
        .catch(() => {})
        .then(pump)
      forgetNames()
      // Entries since the last one come by themselves; receipts may have been missed.
      void refresh(fresh && loaded.value === 'ready')
    },
  })
}

let refreshing: Promise<void> | null = null
/** All has to be read anew, and that was not begun, or failed. */
let anewDue = false

/** Reads the list of conversations; with anew also what is shown of them. */
export function refresh(anew: boolean): Promise<void> {
  anewDue ||= anew
  refreshing ??= loadAll().finally(() => (refreshing = null))
  return refreshing
}

async function loadAll(): Promise<void> {
  const user = login.value?.user
  do {
    const anew = anewDue
    anewDue = false
    if (!(await load(anew))) {
      if (login.value?.user === user) anewDue ||= anew
      return
    }
  } while (anewDue)
}

async function load(anew: boolean): Promise<boolean> {
  const began = conversations.value
  const user = login.value?.user
  try {
    const [list, mine, myRooms, block] = await Promise.all([api.conversations(), api.me(), api.rooms(), api.blocks()])
    if (login.value?.user !== user) return false
    batch(() => {
      profile.value = mine
      blocked.value = new Set(block.blocks)
      for (const r of myRooms.rooms) setRoom(r)
      // After a gap the server may know less than this page: an older state of the
      // database was put in its place. What has changed since the question stays.
      const touched = ([key, c]: [Key, Conversation]) => began.get(key) !== c || key === route.value
      const next = new Map(anew ? [...conversations.value].filter(touched) : conversations.value)
      for (const c of list.conversations) {
        const known = next.get(keyOf(c))
        // What arrived, or was read, while the answer was on its way is newer than it.
        const newer = known && (!anew || known !== began.get(keyOf(c))) && ((known.last?.seq ?? 0) > (c.last?.seq ?? 0) || known.read_seq > c.read_seq)
        // So are marks that came meanwhile.
        if (known?.peer && c.peer && !anew) c.peer = further(known.peer, c.peer)
        next.set(keyOf(c), newer ? { ...c, last: known.last, unread: known.unread, read_seq: Math.max(known.read_seq, c.read_seq) } : c)
      }
      for (const r of myRooms.rooms) if (!next.has(inRoom(r.room))) next.set(inRoom(r.room), { room: r.room, unread: 0, read_seq: 0 })
      conversations.value = next
      moreConversations.value = list.has_more
      loaded.value = 'ready'
    })
    if (anew && !(await threads.reload())) return false
    for (const c of conversations.value.values()) if (c.last?.idempotency_key) arrived(c.last.idempotency_key)
    if (route.value) await threads.open(route.value)
    return true
  } catch {
    if (login.value?.user === user && loaded.value === 'loading') loaded.value = 'failed'
    return false
  }
}

export async function moreOfTheList(): Promise<void> {
  const oldest = [...conversations.value.values()].reduce<string | undefined>(
    (id, c) => (c.last && (id === undefined || c.last.id < id) ? c.last.id : id),
    undefined,
  )
  if (!oldest || !moreConversations.value) return
  moreConversations.value = false
  try {
    const list = await api.conversations(oldest)
    for (const c of list.conversations) if (!conversations.value.has(keyOf(c))) setConversation(keyOf(c), c)
    moreConversations.value = list.has_more
  } catch {
    moreConversations.value = true
  }
}

/** What is needed about a conversation when it is shown. */
export async function show(key: Key): Promise<void> {
  if (loaded.value !== 'ready') return
  const jobs: Promise<unknown>[] = [threads.open(key)]
  if (key.startsWith('r/')) jobs.push(refreshRoom(key.slice(2)))
  else jobs.push(learnPresence([key.slice(2)]).catch(() => {}))
  await Promise.all(jobs)
}

/** Ends everything that belongs to the account; the page is as if it were new. */
export async function leave(): Promise<void> {
  const user = login.value?.user
  line.stop()
  if (user) await outbox.empty(user)
  await signOut().catch(() => {})
  end()
}

function end(): void {
  line.stop()
  clear()
  batch(() => {
    conversations.value = new Map()
    rooms.value = new Map()
    profile.value = null
    blocked.value = new Set()
    loaded.value = 'loading'
    spoken.value = ''
    typing.value = new Map()
    forgetPeople()
    forgetQuotes()
    threads.forgetAll()
  })
  forgetMarks()
  forgetLearnt()
  anewDue = false
  refreshing = null
}

let running: string | undefined
// Whoever signs in or out, here or in another tab, starts or ends it.
effect(() => {
  const user = login.value?.user
  if (user === running) return
  running = user
  queueMicrotask(() => (user ? void begin() : end()))
})

export const waiting = (): number => pending.value.filter((p) => !p.stored).length
