// Several tabs of one browser: they see the same, and they share a refresh token that
// is good for one use, which none of them may spend twice.
import { strict as assert } from 'node:assert'
import { Person } from './person.mjs'

export async function story(world) {
  const cat = await Person.at(world, 'cat')
  await cat.register('Cat')
  await cat.find('cat')
  await cat.write('note one')
  await cat.sees('note one', 'Sent')
  let renewed = 0
  cat.context.on('request', (r) => r.url().endsWith('/v1/refresh') && renewed++)
  const tabs = [cat.page, await cat.tab(), await cat.tab()]
  const rounds = 5
  for (let i = 1; i <= rounds; i++) {
    // The token is due, and all tabs are loaded at once.
    await cat.page.evaluate(() => {
      const login = JSON.parse(localStorage.getItem('postbox.login'))
      localStorage.setItem('postbox.login', JSON.stringify({ ...login, renew: 0 }))
    })
    await Promise.all(tabs.map((t) => t.reload()))
    await Promise.all(tabs.map((t) => t.getByRole('link', { name: /note/ }).waitFor()))
    assert.equal(renewed, i, `after ${i} rounds the token was renewed ${renewed} times`)
  }
  // What is written in one is in all of them; so is what is taken back.
  for (const t of tabs.slice(1)) await t.getByRole('link', { name: /note one/ }).click()
  await cat.box().waitFor()
  await cat.write('note two')
  for (const t of tabs) await t.locator('li.message .text', { hasText: 'note two' }).waitFor()
  await cat.act('note two', 'Retract')
  await cat.page.getByRole('dialog').getByRole('button', { name: 'Retract' }).click()
  for (const t of tabs) await t.locator('li.message .text', { hasText: 'Message retracted' }).waitFor()
  // A new password ends all connections, and the login of none of them.
  await cat.button('Settings').click()
  await cat.page.getByText('Change password').first().click()
  await cat.page.getByLabel('Current password').fill(cat.name + '-secret')
  await cat.page.getByLabel('New password').fill(cat.name + '-secret 2')
  await cat.page.getByRole('button', { name: 'Change password' }).click()
  await cat.page.getByText('The password was changed').first().waitFor()
  await cat.page.keyboard.press('Escape')
  await cat.write('note three')
  for (const t of tabs) await t.locator('li.message .text', { hasText: 'note three' }).waitFor()
  for (const t of tabs) assert.equal(await t.evaluate(() => localStorage.getItem('postbox.ended')), null)
  // Signed out in one, signed out in all.
  await cat.button('Settings').click()
  await cat.button('Sign out').click()
  for (const t of tabs) await t.getByRole('button', { name: 'Sign in', exact: true }).waitFor()
}
