// The read marker: it follows what somebody has before their eyes.
import * as api from './api'
import { markedRead } from './entries'
import { login, Refused } from './login'
import type { Key } from './model'
import { conversations, link } from './state'

/** Refusals that are not for ever. */
const passing = ['rate_limited', 'unavailable', 'internal', 'unauthenticated']

const due = new Map<Key, number>()
let timer: ReturnType<typeof setTimeout> | undefined

/** All up to seq was seen. Told to the server a moment later, and once for many. */
export function saw(key: Key, seq: number): void {
  if (document.hidden || !document.hasFocus()) return
  if (seq <= Math.max(conversations.value.get(key)?.read_seq ?? 0, due.get(key) ?? 0)) return
  markedRead(key, seq)
  due.set(key, seq)
  timer ??= setTimeout(tell, 250)
}

async function tell(): Promise<void> {
  timer = undefined
  const user = login.value?.user
  for (const key of [...due.keys()]) {
    if (login.value?.user !== user) return
    const seq = due.get(key) // it may have grown while another was told
    if (seq === undefined) continue
    due.delete(key)
    try {
      await api.read(key, seq)
    } catch (e) {
      if (e instanceof Refused && !passing.includes(e.code)) continue
      if (login.value?.user === user) due.set(key, Math.max(seq, due.get(key) ?? 0))
    }
  }
  // The connection brings them along when it is back; while it stands, the fault was another.
  if (due.size > 0 && link.value === 'online') timer ??= setTimeout(tell, 10_000)
}

link.subscribe((state) => {
  if (state !== 'online' || due.size === 0) return
  clearTimeout(timer)
  timer = setTimeout(tell, 250)
})

/** The account has changed: another one has not seen it. */
export function forgetMarks(): void {
  due.clear()
}
