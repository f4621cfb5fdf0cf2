// From the composer to the server: into the outbox first, then out, in the order of
// writing, and again after each return of the connection until it is acknowledged.
import { unique } from './ids'
import * as line from './link'
import { login } from './login'
import { isRoom, type Key, type Message, nameOf, type Pending } from './model'
import * as outbox from './outbox'
import { link, pending } from './state'
import { onLoaded, thread } from './threads'

/** How many may be unacknowledged: well below what the server takes from one connection. */
const window = 64

const flying = new Set<string>()

export async function restore(user: string): Promise<void> {
  const kept = await outbox.load(user)
  const known = new Set(pending.value.map((p) => p.key))
  const added = kept.filter((p) => !known.has(p.key))
  if (added.length > 0) pending.value = [...pending.value, ...added].sort((a, b) => a.n - b.n)
}

/** Takes a message. When this returns it survives whatever happens to the tab. */
export async function submit(conversation: Key, body: string, reply?: string): Promise<void> {
  const user = login.value?.user
  if (!user) return
  const m = { key: unique(), user, conversation, body, at: new Date().toISOString(), ...(reply ? { reply } : {}) }
  const kept = await outbox.keep(m)
  if (login.value?.user !== user) return
  pending.value = [...pending.value, kept]
  pump()
}

/** Sends what waits. Called whenever something is written, acknowledged, or the connection is back. */
export function pump(): void {
  if (link.value !== 'online') return
  for (const p of pending.value) {
    if (flying.size >= window) return
    if (p.refused || p.stored || flying.has(p.key)) continue
    flying.add(p.key)
    void fly(p)
  }
}

async function fly(p: Pending): Promise<void> {
  const name = nameOf(p.conversation)
  const topic = `${isRoom(p.conversation) ? 'room' : 'inbox'}/${name}/${p.key}`
  const ref = p.reply ? JSON.stringify({ reply: { id: p.reply } }) : undefined
  const ack = await line.publish(topic, p.body, ref)
  flying.delete(p.key)
  if (!ack) return // it goes out again when the connection is back
  if (ack.refused) {
    await replace({ ...p, refused: ack.refused })
  } else {
    await outbox.remove(p)
    // Shown as stored until its own copy comes, which is on its way; but if it was sent
    // again, the history may have had it before.
    const stored = { ...p, stored: true, ...(ack.seq === undefined ? {} : { seq: ack.seq }) }
    pending.value = pending.value.map((q) => (q.key === p.key ? stored : q))
    settle(p.conversation, thread(p.conversation).peek().messages)
  }
  pump()
}

async function replace(p: Pending): Promise<void> {
  pending.value = pending.value.map((q) => (q.key === p.key ? p : q))
  await outbox.change(p)
}

/** Its own copy has arrived: the message is in the conversation now. */
export function arrived(key: string): void {
  const p = pending.value.find((q) => q.key === key)
  if (!p) return
  pending.value = pending.value.filter((q) => q.key !== key)
  void outbox.remove(p)
}

/** Those that are in the history: no copies of them come to a page that was loaded since. */
function settle(key: Key, messages: readonly Message[]): void {
  const waiting = pending.value.filter((p) => p.conversation === key)
  if (waiting.length === 0) return
  const there = new Set(messages.map((m) => m.idempotency_key))
  // One that was stored long ago may have its place above all that is loaded.
  const last = messages.at(-1)?.seq ?? 0
  for (const p of waiting) if (there.has(p.key) || (p.seq !== undefined && p.seq <= last)) arrived(p.key)
}
onLoaded(settle)

export async function discard(p: Pending): Promise<void> {
  pending.value = pending.value.filter((q) => q.key !== p.key)
  await outbox.remove(p)
}

export async function retry(p: Pending): Promise<void> {
  const { refused: _, ...again } = p
  await replace(again)
  pump()
}

export function clear(): void {
  pending.value = []
  flying.clear()
}

let told = 0
/** Tells the other side that somebody is writing, at most every three seconds. */
export function typingIn(key: Key): void {
  if (Date.now() - told < 3000) return
  told = Date.now()
  line.hint((isRoom(key) ? 'signal/room/' : 'signal/') + nameOf(key), 'typing')
}
