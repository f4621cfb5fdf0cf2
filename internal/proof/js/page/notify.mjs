// Notifications of the system: one for each message that nobody has before their
// eyes, in however many tabs the page is open; a click leads to the conversation.
import { strict as assert } from 'node:assert'
import { desktop, Person } from './person.mjs'
import { server } from './server.mjs'

/** Keeps what the page shows as notifications, beside showing it. */
function record() {
  const Real = globalThis.Notification
  globalThis.shown = []
  globalThis.withdrawn = []
  globalThis.Notification = class extends Real {
    constructor(title, options) {
      super(title, options)
      globalThis.shown.push({ notification: this, title, ...options })
    }
    close() {
      globalThis.withdrawn.push(this.tag)
      super.close()
    }
  }
}

/** What a tab has shown since the last time. */
const taken = (tab) => tab.evaluate(() => globalThis.shown.splice(0).map(({ title, body, tag }) => ({ title, body, tag })))

export async function story(world) {
  const api = server(world.origin)
  const [hal, ivy, kim] = await Promise.all([api.account('hal', 'Hal'), api.account('ivy', 'Ivy'), api.account('kim', 'Kim')])
  for (const token of [ivy, kim]) await api.post('send', { to: 'hal', body: 'the first' }, token)
  const p = await Person.at(world, 'hal', { ...desktop, permissions: ['notifications'] })
  await p.context.addInitScript(record)
  await p.page.reload()
  await p.signIn()
  await p.button('Settings').click()
  await p.page.getByLabel('Show a notification').check()
  await p.page.keyboard.press('Escape')
  await p.open(/Ivy/)
  const second = await p.tab()
  const tabs = [p.page, second]
  await second.getByRole('link', { name: /Kim/ }).waitFor()
  // Playwright tells every tab that it has the focus; here only one has.
  const look = async (at) => {
    await at?.bringToFront()
    for (const tab of tabs) {
      await tab.evaluate((has) => {
        document.hasFocus = () => has
        dispatchEvent(new Event(has ? 'focus' : 'blur'))
      }, tab === at)
    }
  }
  /** Sends, waits until both tabs have it, and tells what both have shown. */
  const arrives = async (token, from, body) => {
    await api.post('send', { to: 'hal', body }, token)
    for (const tab of tabs) await tab.getByRole('link', { name: new RegExp(from) }).getByText(body.slice(0, 20)).waitFor()
    // Whoever has one to show does that in turn, under this lock.
    for (const tab of tabs) await tab.evaluate(() => navigator.locks.request('postbox.notified', () => {}))
    return (await Promise.all(tabs.map(taken))).flat()
  }

  // Before somebody's eyes in one tab: none, and none by the other tab either.
  await look(p.page)
  assert.deepEqual(await arrives(ivy, 'Ivy', 'seen at once'), [])
  // Another conversation than the one that is open; once, though there are two tabs.
  assert.deepEqual(await arrives(kim, 'Kim', '<b>not bold</b>'), [{ title: 'Kim', body: '<b>not bold</b>', tag: 'u/kim' }])
  // Nobody looks at all: the conversation that is open gets one too.
  await look(null)
  assert.deepEqual(await arrives(ivy, 'Ivy', 'unseen'), [{ title: 'Ivy', body: 'unseen', tag: 'u/ivy' }])
  // Read on another device it is no news any more.
  const { conversations } = await api.post('conversations', {}, hal)
  await api.post('read', { with: 'ivy', seq: conversations.find((c) => c.with === 'ivy').last.seq }, hal)
  await Promise.any(tabs.map((tab) => tab.waitForFunction(() => globalThis.withdrawn.includes('u/ivy'), null, { timeout: world.patience })))

  // A click leads there.
  await look(second)
  await api.post('send', { to: 'hal', body: 'over here' }, kim)
  const clicked = () => {
    const one = globalThis.shown.find((s) => s.body === 'over here')
    one?.notification.dispatchEvent(new Event('click'))
    return one !== undefined
  }
  const at = await Promise.any(tabs.map((tab) => tab.waitForFunction(clicked, null, { timeout: world.patience }).then(() => tab)))
  await at.getByRole('textbox', { name: 'Message Kim' }).waitFor()
  await at.locator('li.message .text', { hasText: 'over here' }).waitFor()

  // Switched off is switched off.
  await p.page.evaluate(() => globalThis.shown.splice(0))
  await second.evaluate(() => globalThis.shown.splice(0))
  await p.button('Settings').click()
  await p.page.getByLabel('Show a notification').uncheck()
  await p.page.keyboard.press('Escape')
  await look(null)
  assert.deepEqual(await arrives(ivy, 'Ivy', 'quiet now'), [])
}
