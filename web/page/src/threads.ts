// The messages of conversations, as far as they were loaded: of each one stretch
// without a hole, which grows at both ends.
import { type Signal, signal } from '@preact/signals'
import * as api from './api'
import type { Key, Message } from './model'
import { route } from './route'
import { conversations } from './state'

export interface Thread {
  messages: readonly Message[]
  before: boolean
  after: boolean
  state: 'loading' | 'ready' | 'failed'
  /** The message to be shown: set by a jump, with a number so that it can be repeated. */
  goal?: { seq: number; n: number; mark: boolean }
  /** What had been read when it was opened, the line between old and new; Infinity: all. */
  seen: number
}

const page = 60
/** More than this is not kept; the far end is loaded again when somebody goes there. */
const most = 3000

/** Told of what was loaded. */
let loaded: (key: Key, messages: readonly Message[]) => void = () => {}
export const onLoaded = (f: (key: Key, messages: readonly Message[]) => void) => (loaded = f)

const all = new Map<Key, Signal<Thread>>()
/** Those of which a page is on its way, until it is there. */
const busy = new Map<Key, Promise<void>>()
/** The number of the last message that arrived while a page was on its way. */
const late = new Map<Key, number>()
/** What changed meanwhile, by message: the page may have been read before. */
const changes = new Map<Key, Map<string, Partial<Message>>>()
let goals = 0

export function thread(key: Key): Signal<Thread> {
  let s = all.get(key)
  if (!s) {
    s = signal<Thread>({ messages: [], before: false, after: false, state: 'loading', seen: Infinity })
    all.set(key, s)
  }
  return s
}

/** Loads a conversation unless it is there. Where much is unread it begins at the first of that. */
export async function open(key: Key): Promise<void> {
  const s = thread(key)
  const loading = busy.has(key)
  while (busy.has(key)) await busy.get(key)
  if (loading && s.value.state === 'ready') return // it was drawn, and read, before we came
  const c = conversations.value.get(key)
  const unread = c?.unread ?? 0
  const read = c?.read_seq ?? 0
  if (s.value.state === 'ready') {
    s.value = { ...s.value, seen: unread > 0 ? read : Infinity }
    return
  }
  await fill(key, unread > 20 && read > 0 ? { around: read } : {}, unread > 0 ? read : Infinity).catch(() => {}) // it says so itself
}

/** Nothing else is loaded of the conversation until what this returns is called. */
function occupy(key: Key): () => void {
  let done = () => {}
  const free = new Promise<void>((f) => (done = f))
  busy.set(key, free)
  return () => {
    if (busy.get(key) === free) {
      busy.delete(key)
      late.delete(key)
      changes.delete(key)
    }
    done()
  }
}

/** A page of history, and what was stored or changed after the server had read it: append and patch leave that to us. */
async function ask(key: Key, bound: api.Bound): Promise<api.Page> {
  let p = await api.history(key, bound, page)
  for (;;) {
    const last = p.messages.at(-1)?.seq ?? ('after' in bound ? bound.after : 0)
    if ('before' in bound || p.has_after || (late.get(key) ?? 0) <= last) break
    const more = await api.history(key, { after: last }, page)
    if (more.messages.length === 0) break // it is not to be seen any more
    p = { ...p, messages: [...p.messages, ...more.messages], has_after: more.has_after }
  }
  const changed = changes.get(key)
  return changed ? { ...p, messages: p.messages.map((m) => ({ ...m, ...changed.get(m.id) })) } : p
}

/** Puts a page in the place of what was loaded, as soon as nothing else is on its way. */
async function fill(key: Key, bound: api.Bound, seen: number, mark?: boolean): Promise<void> {
  while (busy.has(key)) await busy.get(key)
  const free = occupy(key)
  const s = thread(key)
  if (s.value.messages.length === 0) s.value = { ...s.value, state: 'loading', seen }
  try {
    const p = await ask(key, bound)
    const at = 'around' in bound ? p.messages.find((m) => m.id === bound.around || m.seq === bound.around) : undefined
    s.value = {
      messages: p.messages,
      before: p.has_before,
      after: p.has_after,
      state: 'ready',
      seen,
      ...(at ? { goal: { seq: at.seq, n: ++goals, mark: mark ?? false } } : {}),
    }
    loaded(key, p.messages)
  } catch (e) {
    if (s.value.messages.length === 0) s.value = { ...s.value, state: 'failed' }
    throw e
  } finally {
    free()
  }
}

/** There is no such message, or none that may be seen. */
export class Gone extends Error {}

/** Shows a message, wherever in the history it is. Otherwise it throws Gone, or what prevented it. */
export async function jump(key: Key, id: string): Promise<void> {
  const s = thread(key)
  while (busy.has(key)) await busy.get(key)
  const here = s.value.messages.find((m) => m.id === id)
  if (here) {
    s.value = { ...s.value, goal: { seq: here.seq, n: ++goals, mark: true } }
    return
  }
  await fill(key, { around: id }, s.value.seen, true)
  if (!s.value.messages.some((m) => m.id === id)) throw new Gone()
}

/** Goes to the end; throws what prevented it. */
export async function latest(key: Key): Promise<void> {
  const s = thread(key)
  while (busy.has(key)) await busy.get(key)
  if (s.value.after) await fill(key, {}, s.value.seen)
  const last = s.value.messages.at(-1)
  if (last) s.value = { ...s.value, goal: { seq: last.seq, n: ++goals, mark: false } }
}

/** Loads a page more at one end. */
export async function extend(key: Key, end: 'before' | 'after'): Promise<void> {
  const s = thread(key)
  const first = s.value.messages[0]
  const last = s.value.messages.at(-1)
  if (!first || !last || !s.value[end] || busy.has(key)) return
  const free = occupy(key)
  try {
    const p = await ask(key, end === 'before' ? { before: first.seq } : { after: last.seq })
    const now = s.value
    if (now.messages[0] !== first && now.messages[0]?.seq !== first.seq) return // a jump came between
    if (end === 'before') {
      const joined = [...p.messages, ...now.messages]
      s.value = { ...now, messages: joined.slice(0, most), before: p.has_before, after: now.after || joined.length > most }
    } else {
      const known = now.messages.at(-1)!.seq
      const joined = [...now.messages, ...p.messages.filter((m) => m.seq > known)]
      s.value = { ...now, messages: joined.slice(-most), after: p.has_after, before: now.before || joined.length > most }
    }
    loaded(key, p.messages)
  } catch {
    // Who still looks there when it is drawn again asks again: at the very end nothing moves.
    setTimeout(() => (s.value = { ...s.value }), 3000)
  } finally {
    free()
  }
}

/** A message that has just arrived. */
export function append(key: Key, m: Message): void {
  const s = all.get(key)
  if (busy.has(key)) late.set(key, Math.max(m.seq, late.get(key) ?? 0))
  if (!s || s.value.state !== 'ready' || s.value.after) return
  const last = s.value.messages.at(-1)
  if (last && m.seq <= last.seq) return
  if (m.seq === (last?.seq ?? 0) + 1) {
    const joined = [...s.value.messages, m]
    s.value = { ...s.value, messages: joined.slice(-most), before: s.value.before || joined.length > most }
    return
  }
  // Some between are not known here, such as those of a time out of the room.
  s.value = { ...s.value, after: true }
  void (last ? extend(key, 'after') : fill(key, {}, s.value.seen).catch(() => {}))
}

/** A message that has changed. */
export function patch(key: Key, id: string, change: Partial<Message>): void {
  if (busy.has(key)) {
    const known = changes.get(key) ?? new Map<string, Partial<Message>>()
    changes.set(key, known.set(id, { ...known.get(id), ...change }))
  }
  const s = all.get(key)
  const at = s?.value.messages.findIndex((m) => m.id === id) ?? -1
  if (!s || at < 0) return
  const messages = [...s.value.messages]
  messages[at] = { ...messages[at]!, ...change }
  s.value = { ...s.value, messages }
}

/** After a gap: what is shown is read again, in place. False: that failed. */
export async function reload(): Promise<boolean> {
  // What is on its way may be of the time before.
  while (busy.size > 0) await Promise.race(busy.values())
  const shown = route.value
  for (const [key, s] of all) {
    if (key === shown) continue
    s.value = { ...s.value, messages: [], state: 'loading' }
    all.delete(key)
  }
  if (!shown || !all.has(shown)) return true
  return fill(shown, {}, thread(shown).value.seen).then(
    () => true,
    () => false,
  )
}

/** The account has changed: nothing of it stays. */
export function forgetAll(): void {
  all.clear()
  busy.clear()
  late.clear()
  changes.clear()
}
