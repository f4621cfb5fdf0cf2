// What happens while a page of the history is on its way, or cannot be had.
import { strict as assert } from 'node:assert'
import { Person } from './person.mjs'
import { server } from './server.mjs'

export async function story(world) {
  const api = server(world.origin)
  const [mia, ned] = await Promise.all([api.account('mia', 'Mia'), api.account('ned', 'Ned')])
  const sent = []
  for (let i = 1; i <= 130; i++) sent.push((await api.post('send', { to: 'mia', body: `line ${i}.` }, ned)).id)
  await api.post('send', { to: 'mia', body: 'the answer', ref: { reply: { id: sent[0] } } }, ned)
  const p = await Person.at(world, 'mia')
  await p.signIn()
  await api.post('read', { with: 'ned', seq: 131 }, mia)
  await p.page.waitForFunction(() => !document.querySelector('.row.unread'))

  /** Lets no page of the history through until what it returns is called. */
  const hold = async (bound) => {
    let release
    let come
    const held = new Promise((done) => (come = done))
    const gate = new Promise((done) => (release = done))
    await p.context.route('**/v1/history', async (route) => {
      if (!(bound in route.request().postDataJSON())) return route.continue()
      const response = await route.fetch() // as it was read now
      come()
      await gate
      await route.fulfill({ response })
    })
    return {
      held,
      async release() {
        release()
        await p.context.unrouteAll({ behavior: 'wait' })
      },
    }
  }

  // Corrected and taken back while the page with them is on its way.
  const first = await hold('limit')
  await p.row(/Ned/).click()
  await first.held
  await api.post('edit', { id: sent[129], body: 'line 130, corrected.' }, ned)
  await api.post('retract', { id: sent[128] }, ned)
  await api.post('send', { to: 'mia', body: 'after them' }, ned)
  await p.row(/after them/).waitFor() // the entries before have been applied
  await first.release()
  await p.sees('line 130, corrected.')
  await p.sees('Message retracted')
  await p.sees('after them')
  assert.equal(await p.message('line 129.').count(), 0)

  // A quote of what is not loaded follows its correction.
  await p.message('the answer').getByRole('button', { name: /line 1\./ }).waitFor()
  await api.post('edit', { id: sent[0], body: 'line 1, corrected.' }, ned)
  await p.message('the answer').getByRole('button', { name: /line 1, corrected\./ }).waitFor()

  // A jump while another page is on its way comes after it.
  const second = await hold('before')
  await p.page.locator('.messages').evaluate((e) => (e.scrollTop = 0))
  await second.held
  await p.message('the answer').getByRole('button', { name: /line 1, corrected/ }).evaluate((e) => e.click())
  await second.release()
  await p.page.locator('li.message.marked, li.message:focus', { hasText: 'line 1, corrected.' }).waitFor()

  // The focus goes back to where it was.
  await p.box().focus()
  await p.page.keyboard.press('Control+k')
  await p.page.getByPlaceholder('Search all messages').waitFor()
  await p.page.keyboard.press('Escape')
  await p.page.waitForFunction(() => document.activeElement?.tagName === 'TEXTAREA')
  const details = p.page.locator('.thread > header').getByRole('button', { name: 'Details', exact: true }).last()
  await details.focus()
  await p.page.keyboard.press('Enter')
  await p.page.getByRole('complementary', { name: 'Details' }).getByRole('button', { name: 'Close' }).press('Enter')
  await p.page.waitForFunction(() => document.activeElement?.getAttribute('aria-label') === 'Details')

  // The history cannot be had: what waits is there all the same, and goes out.
  world.away = true
  await p.context.route('**/v1/history', (route) => route.abort())
  await p.page.reload()
  await p.page.locator('.messages [role=alert]').waitFor()
  await p.context.setOffline(true)
  await p.write('written without history')
  await p.sees('written without history', 'Waiting to be sent')
  await p.context.unroute('**/v1/history')
  await p.context.setOffline(false)
  await p.settled()
  await p.sees('written without history', 'Sent')
  world.away = false

  // Sent again when its own copy is long past and above all that is loaded: it does not
  // stay behind the newest.
  const key = 'a'.repeat(32)
  await api.post('send', { to: 'ned', body: 'long ago', content_type: 'text/plain', idempotency_key: key }, mia)
  for (let i = 1; i <= 70; i++) await api.post('send', { to: 'mia', body: `later ${i}.` }, ned)
  await p.sees('later 70.')
  await p.page.evaluate((key) => {
    const m = { key, user: 'mia', conversation: 'u/ned', body: 'long ago', at: new Date().toISOString() }
    localStorage.setItem('postbox.outbox.' + key, JSON.stringify(m))
  }, key)
  await p.page.reload()
  await p.sees('later 70.')
  await p.settled()
  assert.equal((await p.texts('long ago')).length, 0)
}
