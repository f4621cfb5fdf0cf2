// What was written, in IndexedDB until the server has it. It survives a reload, a
// crash of the tab and days without a network; each message has its idempotency
// key, so that however often it is sent, it is stored once.
import type { Pending } from './model'

const opened = new Promise<IDBDatabase>((done, fail) => {
  const request = indexedDB.open('postbox', 1)
  request.onupgradeneeded = () => request.result.createObjectStore('outbox', { keyPath: 'n', autoIncrement: true })
  request.onsuccess = () => done(request.result)
  request.onerror = () => fail(request.error)
})
opened.catch(() => {}) // whoever uses it is told

async function within<T>(mode: IDBTransactionMode, work: (s: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const tx = (await opened).transaction('outbox', mode)
  const request = work(tx.objectStore('outbox'))
  return new Promise((done, fail) => {
    // Complete, not success: only then it is there after a crash.
    tx.oncomplete = () => done(request.result)
    tx.onerror = tx.onabort = () => fail(tx.error)
  })
}

// A transaction takes a moment, in which a tab can be reloaded. Until it is complete
// a copy is in the storage that takes things at once.
const slot = 'postbox.outbox.'
/** Those of this tab whose transaction is under way. */
const keeping = new Set<string>()

/** Keeps a message and gives it its place. It is safe as soon as this was called. */
export async function keep(m: Omit<Pending, 'n'>): Promise<Pending> {
  keeping.add(m.key)
  localStorage.setItem(slot + m.key, JSON.stringify(m))
  return settle(m).finally(() => keeping.delete(m.key))
}

async function settle(m: Omit<Pending, 'n'>): Promise<Pending> {
  try {
    const n = (await within('readwrite', (s) => s.add(m))) as number
    localStorage.removeItem(slot + m.key)
    return { ...m, n }
  } catch {
    // Browsers without IndexedDB, as some are in private windows: the copy has to do.
    return { ...m, n: Date.now() }
  }
}

export async function change(m: Pending): Promise<void> {
  await within('readwrite', (s) => s.put(m)).catch(() => {})
}

export async function remove(m: Pending): Promise<void> {
  localStorage.removeItem(slot + m.key)
  await within('readwrite', (s) => s.delete(m.n)).catch(() => {})
}

/** Throws away what user has written. */
export async function empty(user: string): Promise<void> {
  for (const m of await load(user)) await remove(m)
}

/** All that user has written and nobody has acknowledged, in the order of writing. */
export async function load(user: string): Promise<Pending[]> {
  const all = ((await within('readonly', (s) => s.getAll()).catch(() => [])) as Pending[]).filter((m) => m.user === user)
  const known = new Set(all.map((m) => m.key))
  for (const name of Object.keys(localStorage).filter((k) => k.startsWith(slot))) {
    const text = localStorage.getItem(name)
    if (text === null) continue
    const m = JSON.parse(text) as Omit<Pending, 'n'>
    if (m.user !== user || keeping.has(m.key)) continue
    // Another tab may be about to do the same; the server takes the key once.
    if (known.has(m.key)) localStorage.removeItem(name)
    else all.push(await settle(m))
  }
  return all
}
