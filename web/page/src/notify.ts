// News for who does not look: a notification of the system, the number in the
// title, and words for a screen reader.
import { effect, signal } from '@preact/signals'
import { gone, isRoom, type Key, type Message, nameOf } from './model'
import { nameFor } from './people'
import { go, route } from './route'
import { conversations, rooms, spoken, unread } from './state'
import { t } from './words'

const slot = 'postbox.notify'
/** What comes after a longer absence is in the list; a notification for each would be noise. In milliseconds. */
const news = 2 * 60_000
/** A lock: tabs look in turn whether one is wanted. */
const shown = 'postbox.notified'

export const wanted = signal(localStorage.getItem(slot) === 'yes')
export const possible = typeof Notification !== 'undefined' && isSecureContext

// What was switched in another tab.
addEventListener('storage', (e) => {
  if (e.key === slot) wanted.value = e.newValue === 'yes'
})

/** Asks the browser for permission where that is needed. */
export async function switchNotifications(on: boolean): Promise<boolean> {
  if (on && (!possible || (await Notification.requestPermission()) !== 'granted')) {
    wanted.value = false
    localStorage.removeItem(slot)
    return false
  }
  wanted.value = on
  if (on) localStorage.setItem(slot, 'yes')
  else localStorage.removeItem(slot)
  return true
}

export const titleOf = (key: Key): string => (isRoom(key) ? rooms.value.get(nameOf(key))?.title || nameOf(key) : nameFor(nameOf(key)))

/** In one line, for the list, a notification or a reply. */
export function preview(m: Message): string {
  if (m.retracted) return t('retractedMessage')
  if (m.expired) return t('expiredMessage')
  if (m.body !== undefined) return m.body.replace(/\s+/g, ' ').trim().slice(0, 200)
  return t('binary', { type: m.content_type ?? '' })
}

const attentive = (): boolean => !document.hidden && document.hasFocus()

export function announce(key: Key, m: Message): void {
  if (gone(m)) return
  const who = isRoom(key) ? `${nameFor(m.from)} · ${titleOf(key)}` : nameFor(m.from)
  if (attentive() && route.value === key) {
    spoken.value = `${nameFor(m.from)}: ${preview(m)}`
    return
  }
  spoken.value = t('newFrom', { who })
  if (Date.now() - Date.parse(m.sent_at) > news) return
  if (!wanted.value || !possible || Notification.permission !== 'granted') return
  void show(key, m, who).catch(() => {}) // some systems let only service workers show any
}

/** Those that this tab has shown. */
const open = new Map<Key, Notification>()

/**
 * Whether no tab has shown a message: the first keeps a lock for it as long as it is news.
 * What another tab has written into the storage may be seen later than its lock is had.
 */
function first(id: string): Promise<boolean> {
  return new Promise((answer) => {
    void navigator.locks.request(`${shown}.${id}`, { ifAvailable: true }, (lock) => {
      answer(lock !== null)
      return lock ? new Promise<void>((done) => setTimeout(done, news)) : undefined
    })
  })
}

/** Shows one, unless another tab has, or somebody looks at the conversation there. */
async function show(key: Key, m: Message, who: string): Promise<void> {
  await navigator.locks.request(shown, async () => {
    const { held } = await navigator.locks.query()
    if (held?.some((l) => l.name === looking(key))) return
    if (!(await first(m.id))) return
    // One for each conversation: a newer one takes the place of the last.
    const n = new Notification(who, { body: preview(m), tag: key, icon: new URL('postbox.svg', document.baseURI).href })
    open.set(key, n)
    n.onclose = () => open.get(key) === n && open.delete(key)
    n.onclick = () => {
      focus()
      go(key)
      n.close()
    }
  })
}

// Which conversation is before somebody's eyes is told to the other tabs by a lock,
// which ends with the tab however that ends.
const looking = (key: Key): string => 'postbox.looking.' + key
let looked: Key | null = null
let look: () => void = () => {}
let looks = 0

function watch(): void {
  const at = route.value
  const now = possible && attentive() ? at : null
  if (now === looked) return
  looked = now
  look()
  const mine = ++looks // eyes may have come and gone before the lock is given
  const hold = () => new Promise<void>((done) => (mine === looks ? (look = done) : done()))
  if (now) void navigator.locks.request(looking(now), { mode: 'shared' }, hold)
}
for (const event of ['focus', 'blur', 'pageshow']) addEventListener(event, watch)
document.addEventListener('visibilitychange', watch)
effect(watch)

// What was read, here or elsewhere, is no news any more.
effect(() => {
  for (const [key, c] of conversations.value) if (c.unread === 0) open.get(key)?.close()
})

effect(() => {
  const n = unread.value
  const here = route.value ? titleOf(route.value) + ' · Postbox' : 'Postbox'
  document.title = n > 0 ? `(${n}) ${here}` : here
})
