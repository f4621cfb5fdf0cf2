// Where somebody is signed in: the list, and a browser that is signed out from another.
import { strict as assert } from 'node:assert'
import { Person } from './person.mjs'
import { server } from './server.mjs'

export async function story(world) {
  await server(world.origin).account('lou', 'Lou') // a third login, of a program without a name
  const here = await Person.at(world, 'lou')
  const there = await Person.at(world, 'lou')
  await Promise.all([here.signIn(), there.signIn()])
  await there.page.locator('.connection:not(.shown)').waitFor({ state: 'attached' })
  await there.find('lou')
  await there.write('a note')
  await there.sees('a note', 'Sent')
  await here.button('Settings').click()
  await here.page.getByText('Where you are signed in').click()
  const rows = here.page.locator('.places li')
  await rows.nth(2).waitFor()
  assert.equal(await rows.filter({ hasText: 'this browser' }).count(), 1)
  assert.equal(await rows.count(), 3)
  await here.accessible('where one is signed in')
  await rows.filter({ hasText: 'Chat page in Chrome' }).filter({ hasNotText: 'this browser' }).getByRole('button').click()
  const sure = here.page.getByRole('dialog').filter({ hasText: 'has to sign in again' }).last()
  world.away = true // the browser complains of the 401
  await Promise.all([
    here.page.waitForResponse((r) => r.url().endsWith('/v1/logout')),
    sure.getByRole('button', { name: 'Sign out there' }).click(),
  ])
  const ended = Date.now()
  await there.page.getByText('You were signed out here: from another device').waitFor()
  world.figures.gone = (Date.now() - ended) / 1000
  world.away = false
  await rows.nth(2).waitFor({ state: 'detached' })
  // What is told while a dialogue is open is told in it: all else is out of reach.
  await here.page.getByRole('dialog').getByRole('status').getByText('was signed out').waitFor()
  assert.equal(await there.page.evaluate(() => localStorage.getItem('postbox.login')), null)
  // It is still told after a reload, and no more once one is back.
  await there.page.reload()
  await there.page.getByText('You were signed out here').waitFor()
  await there.signIn()
  await there.open(/Notes to yourself/)
  await there.sees('a note')
  assert.equal(await there.page.evaluate(() => localStorage.getItem('postbox.ended')), null)
}
