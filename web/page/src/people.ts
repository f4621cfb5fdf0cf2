// Names and presence of others.
import { signal } from '@preact/signals'
import * as api from './api'

export interface Presence {
  online: boolean
  last_seen?: string
}

const names = signal<ReadonlyMap<string, string>>(new Map())
export const presences = signal<ReadonlyMap<string, Presence>>(new Map())

const wanted = new Set<string>()
const asked = new Set<string>()
let timer: ReturnType<typeof setTimeout> | undefined

/** What to call a user: the display name as soon as it is known, else the name. */
export function nameFor(user: string): string {
  const known = names.value.get(user)
  if (known === undefined && !asked.has(user)) {
    asked.add(user)
    wanted.add(user)
    timer ??= setTimeout(ask, 30)
  }
  return known || user
}

async function ask(): Promise<void> {
  timer = undefined
  const users = [...wanted].slice(0, 100)
  for (const u of users) wanted.delete(u)
  if (wanted.size > 0) timer = setTimeout(ask, 30)
  try {
    const { profiles } = await api.profiles(users)
    setNames(profiles)
  } catch {
    // Asked again when they are shown next, after the connection is back.
    for (const u of users) asked.delete(u)
  }
}

function setNames(profiles: { user: string; display_name: string }[]): void {
  const next = new Map(names.value)
  for (const p of profiles) next.set(p.user, p.display_name)
  names.value = next
}

/** Looks for a user; null if there is none of that name. */
export async function find(user: string): Promise<string | null> {
  const { profiles } = await api.profiles([user])
  setNames(profiles)
  return profiles.some((p) => p.user === user) ? user : null
}

export function setPresence(user: string, p: Presence): void {
  presences.value = new Map(presences.value).set(user, p)
}

/** Asks for those whose state nobody has told yet: it is told by itself from then on. */
export async function learnPresence(users: string[]): Promise<void> {
  const { presence } = await api.presence(users)
  for (const p of presence) setPresence(p.user, p)
}

export function forgetNames(): void {
  asked.clear()
}

/** The account has changed: another one may not know them. */
export function forgetPeople(): void {
  names.value = new Map()
  presences.value = new Map()
  wanted.clear()
  asked.clear()
}
