// Messages that others refer to: from what is loaded, else asked for once.
import { signal } from '@preact/signals'
import * as api from './api'
import { login, Refused } from './login'
import type { Key, Message } from './model'
import { link } from './state'
import { thread } from './threads'

const fetched = signal<ReadonlyMap<string, Message | null>>(new Map())
const asked = new Set<string>()
/** Those that could not be asked for, and what changed while they were on their way. */
const missed = new Set<string>()
const changes = new Map<string, Partial<Message>>()
/** So many are asked for at a time: a conversation full of answers is not a flood. */
const lanes: Promise<void>[] = Array(4).fill(Promise.resolve())

/** The message; null: it cannot be had; undefined: not known yet. */
export function quoted(key: Key, id: string): Message | null | undefined {
  const here = thread(key).peek().messages.find((m) => m.id === id)
  if (here) return here
  const known = fetched.value.get(id)
  if (known === undefined && !asked.has(id)) {
    asked.add(id)
    const user = login.value?.user
    const lane = asked.size % lanes.length
    lanes[lane] = lanes[lane]!.then(() => ask(key, id, user))
  }
  return known
}

async function ask(key: Key, id: string, user: string | undefined): Promise<void> {
  const ours = () => login.value?.user === user
  if (!ours()) return
  let m: Message | null = null
  try {
    m = (await api.history(key, { around: id }, 1)).messages.find((m) => m.id === id) ?? null
  } catch (e) {
    if (!(e instanceof Refused && (e.code === 'not_found' || e.code === 'forbidden'))) {
      if (!ours()) return
      missed.add(id)
      // The connection brings them along when it is back; while it stands, the fault was another.
      if (link.value === 'online') timer ??= setTimeout(again, 10_000)
      return
    }
  }
  if (ours()) remember(id, m && { ...m, ...changes.get(id) })
}

let timer: ReturnType<typeof setTimeout> | undefined

/** Those are asked for again that are then shown. */
function again(): void {
  timer = undefined
  for (const id of missed) asked.delete(id)
  missed.clear()
  fetched.value = new Map(fetched.value)
}

link.subscribe((state) => {
  if (state !== 'online' || missed.size === 0) return
  clearTimeout(timer)
  again()
})

/** A message that has changed: who answers it shows it as it is now. */
export function amend(id: string, change: Partial<Message>): void {
  const known = fetched.value.get(id)
  if (known) remember(id, { ...known, ...change })
  else if (asked.has(id)) changes.set(id, { ...changes.get(id), ...change })
}

/** The account has changed: another one may not read them. */
export function forgetQuotes(): void {
  fetched.value = new Map()
  asked.clear()
  missed.clear()
  changes.clear()
}

function remember(id: string, m: Message | null): void {
  changes.delete(id)
  fetched.value = new Map(fetched.value).set(id, m)
}
