// Two people who have never seen the page, one of them with two devices: from making
// an account to a message that is read, corrected and taken back, a room; and, while
// somebody writes, a server that is killed and a page that is loaded again.
import { strict as assert } from 'node:assert'
import { exactly, Person, phone } from './person.mjs'

export async function story(world) {
  const [ann, ben, benPhone] = await Promise.all([Person.at(world, 'ann'), Person.at(world, 'ben'), Person.at(world, 'ben', phone)])
  world.mark('opened')
  await ann.accessible('the door')
  world.mark('checked')
  await Promise.all([ann.register('Ann'), ben.register('Ben 本')])
  world.mark('registered')
  await benPhone.signIn()
  await ann.accessible('an empty list')

  world.mark('accounts')

  // Find, write; the marks tell how far it has come.
  await ann.find('ben')
  await ann.write('Hello Ben, see https://example.org/x?a=1.')
  await ann.sees('Hello Ben', 'Sent')
  await benPhone.row(/Ann.*1 unread/).waitFor()
  await ben.row(/Ann.*1 unread/).waitFor()
  assert.match(await ben.page.title(), /^\(1\)/)
  await ben.open(/Ann/)
  await ben.sees('Hello Ben')
  // Read on one device is read on all.
  await benPhone.page.waitForFunction(() => !document.querySelector('.row.unread'))
  const link = ben.message('Hello Ben').getByRole('link')
  assert.equal(await link.getAttribute('href'), 'https://example.org/x?a=1')
  assert.match((await link.getAttribute('rel')) ?? '', /noopener/)

  // What is written stays text.
  await ann.write('<img src=x onerror=alert(1)><b>not bold</b>')
  await ben.sees('<img src=x onerror=alert(1)><b>not bold</b>')

  world.mark('found')

  // Typing, an answer, a correction, a retraction; on every device.
  await ben.box().pressSequentially('Hi')
  await ann.page.locator('.typing').getByText('Ben 本 is writing…').waitFor()
  await ben.box().fill('')
  await ben.act('Hello Ben', 'Reply')
  await ben.write('Hi Ann')
  await ann.message('Hi Ann').getByRole('button', { name: /Hello Ben/ }).waitFor()
  // How far one has read is known to those one has written to, and from then on.
  await ann.sees('Hello Ben', 'Read')
  await ben.act('Hi Ann', 'Edit')
  await ben.write('Hi Ann!')
  await ann.message('Hi Ann!').getByText('edited').waitFor()
  await ben.write('A secret')
  await ann.sees('A secret')
  // From one edit to another and to an answer: what was being written comes back.
  await ben.box().fill('A draft')
  await ben.act('A secret', 'Edit')
  await ben.act('Hi Ann!', 'Edit')
  await ben.act('Hello Ben', 'Reply')
  await ben.page.locator('.about').getByText('Hello Ben').waitFor()
  assert.equal(await ben.box().inputValue(), 'A draft')
  await ben.box().press('Escape')
  await ben.box().fill('')
  await ben.act('A secret', 'Retract')
  await ben.page.getByRole('dialog').getByRole('button', { name: 'Retract' }).click()
  await ann.sees('Message retracted')
  await benPhone.row(/Message retracted/).waitFor()
  assert.equal(await ann.message('A secret').count(), 0)
  await ann.accessible('a conversation')

  world.mark('changed')

  // A room: made, with somebody added, who answers from the phone.
  await ann.button('New conversation').first().click()
  await ann.page.getByText('New room').click()
  await ann.page.getByLabel('Room name').fill('picnic')
  await ann.page.getByRole('dialog').getByLabel('Title').fill('Picnic 野餐')
  await ann.button('Create room').click()
  await ann.box().waitFor()
  await ann.button('Details').last().click()
  await ann.page.getByLabel('Add a member').fill('ben')
  await ann.button('Add').click()
  await ann.page.getByLabel('Role of Ben 本').waitFor()
  await ann.accessible('a room and its members')
  await ann.write('Sunday?')
  // The list is in a new order with it: a click in that moment would go astray.
  await benPhone.row(/Picnic 野餐/).getByText('Sunday?').waitFor()
  await benPhone.open(/Picnic 野餐/)
  await benPhone.sees('Sunday?')
  await benPhone.accessible('a room on a phone')
  await benPhone.write('With cake')
  await ann.sees('With cake')
  await benPhone.button('Back to conversations').click()

  world.mark('room')

  // Killed in the middle of sending.
  await ann.open(/Message retracted/)
  const before = []
  for (let i = 1; i <= 60; i++) {
    const text = `kill ${i}`
    before.push(text)
    await ann.write(text)
    if (i === 20) {
      world.away = true
      await world.ask('kill')
    }
    if (i === 40) {
      await ann.page.getByText('No connection.').waitFor()
      assert.ok((await ann.page.locator('li.waiting').count()) > 0, 'nothing waits while the server is away')
      await ann.accessible('without a connection')
    }
  }
  await world.ask('restart')
  await ann.settled()
  world.away = false
  exactly((await ann.history({ with: 'ben' })).map((m) => m.body).filter((b) => b?.startsWith('kill ')), before, 'after the kill')
  await ben.sees('kill 60')
  exactly(await ben.texts('kill '), before, 'what Ben sees')

  world.mark('killed')

  // Loaded again in the middle of sending; then left while there is no network, with
  // much that was not sent, and opened again.
  const meanwhile = []
  for (let i = 1; i <= 40; i++) {
    meanwhile.push(`reload ${i}`)
    await ann.write(`reload ${i}`)
    if (i === 20) {
      await ann.page.reload()
      await ann.sees('reload 20') // the conversation has been loaded
      world.away = true
      await ann.context.setOffline(true)
    }
  }
  await ann.sees('reload 40')
  assert.ok((await ann.page.locator('li.waiting').count()) >= 20, 'what was written without a network does not wait')
  const address = ann.page.url()
  await ann.page.goto('about:blank')
  await ann.context.setOffline(false)
  await ann.page.goto(address)
  await ann.box().waitFor()
  world.away = false
  await ann.sees('reload 40')
  await ann.settled()
  exactly((await ann.history({ with: 'ben' })).map((m) => m.body).filter((b) => b?.startsWith('reload ')), meanwhile, 'after the reload')
  await ben.sees('reload 40')
  exactly(await ben.texts('reload '), meanwhile, 'what Ben sees')

  // Loaded again when all was stored, and neither acknowledgements nor copies had come.
  let silent = false
  await ann.page.routeWebSocket(/\/mqtt$/, (ws) => {
    const server = ws.connectToServer()
    server.onMessage((m) => {
      if (!silent) ws.send(m)
    })
  })
  await ann.page.reload()
  await ann.box().waitFor()
  await ann.write('heard')
  await ann.settled()
  await ann.sees('heard')
  silent = true
  const unheard = [1, 2, 3, 4].map((i) => `unheard ${i}`)
  for (const text of unheard) await ann.write(text)
  await ben.sees('unheard 4')
  assert.equal(await ann.page.locator('li.waiting').count(), unheard.length)
  silent = false
  await ann.page.reload()
  await ann.sees('unheard 4')
  await ann.settled()
  exactly(await ann.texts('unheard '), unheard, 'what Ann sees')

  world.mark('reloaded')

  // Search leads into the history.
  await ann.button('Search').click()
  await ann.page.getByPlaceholder('Search all messages').fill('"kill 7"')
  await ann.page.locator('.hit').filter({ hasText: 'kill 7' }).first().click({ timeout: 4 * world.patience })
  await ann.sees(/^kill 7$/)

  world.mark('searched')

  // Signed out is signed out: no token stays, and the old one is worth nothing.
  const token = await ben.page.evaluate(() => JSON.parse(localStorage.getItem('postbox.login')).access)
  await ben.button('Settings').click()
  await ben.button('Sign out').click()
  await ben.button('Sign in').waitFor()
  assert.equal(await ben.page.evaluate(() => localStorage.getItem('postbox.login')), null)
  const kept = await ben.page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }))
  assert.ok(!kept.includes('secret'), 'a password or a message is left behind: ' + kept)
  // It ends within a second (docs/spec.md §8).
  let status = 0
  for (const until = Date.now() + world.patience; status !== 401 && Date.now() < until; ) {
    status = (await fetch(new URL('/v1/me', world.origin), { headers: { Authorization: 'Bearer ' + token } })).status
  }
  assert.equal(status, 401)
}
