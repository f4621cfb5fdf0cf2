// Who is signed in on this browser: tokens, never a password. All tabs share them.
import { signal } from '@preact/signals'

export interface Login {
  user: string
  access: string
  refresh: string
  /** When the access token is to be renewed, by the clock of this machine, in milliseconds. */
  renew: number
}

interface Answer {
  user: string
  access_token: string
  expires_in: number
  refresh_token: string
}

const slot = 'postbox.login'

export class Refused extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message)
  }
}

/** The login as the storage has it now: another tab may just have renewed it. */
function stored(): Login | null {
  try {
    const found = JSON.parse(localStorage.getItem(slot) ?? 'null') as Login | null
    return found && typeof found.user === 'string' && typeof found.refresh === 'string' ? found : null
  } catch {
    return null
  }
}

export const login = signal<Login | null>(stored())
type Ended = 'nobody' | 'elsewhere' | 'server'
const reason = 'postbox.ended'
const reasonKept = (): Ended => (localStorage.getItem(reason) as Ended | null) ?? 'nobody'

/** Why the login has ended, when it was not the user who did that here: elsewhere, just now; or the server knows it no more. */
export const signedOutBy = signal<Ended>(reasonKept())

addEventListener('storage', (e) => {
  if (e.key !== slot) return
  const now = stored()
  // Another account in another tab: this page's state is not that one's.
  if (now && login.value && now.user !== login.value.user) location.reload()
  signedOutBy.value = reasonKept()
  login.value = now
})

function keep(a: Answer): Login {
  const made = { user: a.user, access: a.access_token, refresh: a.refresh_token, renew: Date.now() + a.expires_in * 800 }
  localStorage.removeItem(reason)
  localStorage.setItem(slot, JSON.stringify(made))
  signedOutBy.value = 'nobody'
  login.value = made
  return made
}

function forget(by: Ended): void {
  if (by !== 'nobody') localStorage.setItem(reason, by) // for the other tabs, before they find no login
  localStorage.removeItem(slot)
  signedOutBy.value = by
  login.value = null
}

/** Posts JSON to an operation. Errors of the server are Refused; others mean that it cannot be reached. */
export async function post<T>(operation: string, request: unknown, token?: string): Promise<T> {
  const answer = await fetch(new URL('v1/' + operation, document.baseURI), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(token ? { Authorization: 'Bearer ' + token } : {}) },
    body: JSON.stringify(request),
    cache: 'no-store',
    credentials: 'omit',
    signal: AbortSignal.timeout(20_000),
  })
  const body = await answer.json()
  if (!answer.ok) throw new Refused(body?.error?.code ?? 'internal', body?.error?.message ?? answer.statusText)
  return body as T
}

/** What the list of logins calls this browser. */
function thisBrowser(): string {
  const agent = navigator.userAgent
  const found = /(Edg|OPR|Firefox|Chrome|Safari)\//.exec(agent)?.[1] ?? 'browser'
  return 'page-' + found.toLowerCase()
}

export async function signIn(user: string, password: string): Promise<void> {
  keep(await post<Answer>('login', { user, password, device: thisBrowser() }))
}

export async function register(user: string, password: string, name: string, invite: string): Promise<void> {
  keep(
    await post<Answer>('register', {
      user,
      password,
      device: thisBrowser(),
      ...(name ? { display_name: name } : {}),
      ...(invite ? { invite } : {}),
    }),
  )
}

export async function changePassword(old: string, next: string): Promise<void> {
  const access = await token()
  await alone(async () => keep(await post<Answer>('password', { old, new: next }, access)))
}

export async function signOut(): Promise<void> {
  try {
    const access = await token()
    await alone(async () => {
      await post('logout', {}, access).finally(() => forget('nobody'))
    })
  } finally {
    if (login.value) forget('nobody')
  }
}

/** How long what one tab has stored may take to be found by another, in milliseconds. */
const settling = 300
const settled = () => new Promise((done) => setTimeout(done, settling))

// A refresh token is good for one use. Web Locks let one tab renew at a time; the
// others then find what it got, if the lock is held until they can. What ends the login,
// or makes another of it, is done alone too: the server cuts the connections of all tabs
// before it has answered. A page without TLS has no locks: there the server's patience
// has to do, which gives two who ask at once the same answer.
function alone<T>(work: () => Promise<T>): Promise<T> {
  if (!navigator.locks) return work()
  return new Promise((done, failed) => {
    const turn = async () => {
      const before = stored()?.refresh
      await work().then(done, failed)
      if (stored()?.refresh !== before) await settled()
    }
    navigator.locks.request('postbox.refresh', turn).catch(failed)
  })
}

let renewing: Promise<string> | null = null

/**
 * An access token that is good for a while. spent names one that the server no longer
 * takes; revoked: it has said so by ending what the token had opened.
 */
export function token(spent?: string, revoked = false): Promise<string> {
  const now = login.value
  if (!now) return Promise.reject(new Refused('unauthenticated', 'signed out'))
  if (now.access !== spent && now.renew > Date.now()) return Promise.resolve(now.access)
  renewing ??= alone(() => renew(spent, revoked)).finally(() => (renewing = null))
  return renewing
}

async function renew(spent: string | undefined, revoked: boolean): Promise<string> {
  let now = stored()
  if (revoked && now?.access === spent) {
    // Another tab may be about to store what the server gave it for ending this one.
    await Promise.race([new Promise((done) => addEventListener('storage', done, { once: true })), settled()])
    now = stored()
  }
  if (!now) throw new Refused('unauthenticated', 'signed out')
  if (now.access !== spent && now.renew > Date.now()) {
    login.value = now
    return now.access
  }
  try {
    return keep(await post<Answer>('refresh', { refresh_token: now.refresh })).access
  } catch (e) {
    if (!(e instanceof Refused && e.code === 'unauthenticated')) throw e
    const later = stored()
    if (later && later.refresh !== now.refresh) return (login.value = later).access
    if (later) forget(revoked ? 'elsewhere' : 'server')
    throw e
  }
}
