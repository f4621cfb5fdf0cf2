// A picture of each state, for people to look at: large and small, light and dark,
// English and Chinese.
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { desktop, Person, phone } from './person.mjs'
import { server } from './server.mjs'

const looks = {
  'desktop-light-en': { ...desktop, colorScheme: 'light', locale: 'en-GB' },
  'desktop-dark-zh': { ...desktop, colorScheme: 'dark', locale: 'zh-CN' },
  'phone-light-zh': { ...phone, colorScheme: 'light', locale: 'zh-CN' },
  'phone-dark-en': { ...phone, colorScheme: 'dark', locale: 'en-GB' },
}

const talk = [
  ['mei', '早!周日的野餐还去吗?'],
  ['mei', '天气预报说是晴天,气温 22 度左右,很适合出门。'],
  ['jon', 'Good morning! Yes, of course. I bring the bread.'],
  ['jon', 'There is a good place by the river: https://example.org/places/river-meadow?from=station'],
  ['mei', '好的,我带水果和饮料。'],
  ['jon', 'A longer one, so that the lines break: we take the train at half past nine, change once, and are there before eleven, unless it is late again, in which case we walk the rest of the way along the canal.'],
  ['mei', 'Perfect 🎉'],
]

export async function story(world) {
  const api = server(world.origin)
  const mei = await api.account('mei', '林小梅')
  const jon = await api.account('jon', 'Jon Ashby')
  const others = [['ada', 'Ada'], ['kai', '王凯'], ['rosa', 'Rosa Conti'], ['newton', '']]
  for (const [user, name] of others) {
    const token = await api.account(user, name)
    await api.post('send', { to: 'jon', body: user === 'kai' ? '下周三的会议改到下午三点。' : 'See you on Monday then.' }, token)
  }
  await api.post('room.create', { room: 'outing', title: 'Picnic 野餐', public: true }, mei)
  for (const [user, role] of [['jon', 'admin'], ['ada', 'member'], ['kai', 'reader']]) await api.post('room.add', { room: 'outing', user, role }, mei)
  const filler = Array.from({ length: 250 }, (_, i) => `Note ${i + 1}. ${'More of the same, day by day. '.repeat(i % 4)}`)
  for (const body of filler) {
    await api.post('send', { to: 'mei', body }, jon)
    await api.post('send', { to: 'jon', body: '收到:' + body.slice(0, 40) }, mei)
  }
  let asked
  for (const [from, body] of talk) {
    const m = await api.post('send', { to: from === 'jon' ? 'mei' : 'jon', body, ...(asked ? { ref: { reply: { id: asked } } } : {}) }, from === 'jon' ? jon : mei)
    asked = body.includes('河') || body.startsWith('There is') ? m.id : undefined
    await api.post('send', { room: 'outing', body }, from === 'jon' ? jon : mei)
  }
  for (const [look, options] of Object.entries(looks)) await take(world, look, options)
}

async function take(world, look, options) {
  const dir = path.join(world.shots, look)
  await mkdir(dir, { recursive: true })
  const p = await Person.at(world, 'jon', options)
  const shoot = async (name) => {
    await p.page.waitForTimeout(700)
    await p.page.screenshot({ path: path.join(dir, name + '.png') })
  }
  const labels = p.page.locator('input')
  const small = options.isMobile === true
  const back = async () => small && (await p.page.locator('.back').click())
  await shoot('01-door')
  await p.page.locator('.switch button').click()
  await shoot('02-register')
  await p.page.locator('.switch button').click()
  await labels.nth(0).fill('jon')
  await labels.nth(1).fill('not this one')
  await p.page.locator('.primary').click()
  world.away = true // the browser complains of the 401
  await p.page.getByRole('alert').filter({ hasText: /\S/ }).waitFor()
  await shoot('03-wrong-password')
  world.away = false
  await labels.nth(1).fill('jon-secret')
  await p.page.locator('.primary').click()
  await p.page.locator('.list a.row').first().waitFor()
  await shoot('04-list')
  await p.page.locator('a[href="#/u/mei"]').click()
  await p.page.locator('li.message').first().waitFor()
  await shoot('05-conversation')
  await p.accessible(look + ', a conversation')
  const more = p.page.locator('li.message .more').last()
  await more.scrollIntoViewIfNeeded()
  await more.click({ force: true })
  await shoot('06-menu')
  await p.page.keyboard.press('Escape')
  await p.context.setOffline(true)
  world.away = true
  await p.page.locator('textarea').fill('This waits for the network. 等待网络。')
  await p.page.locator('textarea').press('Enter')
  await p.page.locator('.connection.shown').waitFor()
  await shoot('07-offline')
  await p.accessible(look + ', offline')
  await p.context.setOffline(false)
  await p.settled()
  world.away = false
  await back()
  await p.page.locator('a[href="#/r/outing"]').click()
  await p.page.locator('li.message').first().waitFor()
  await shoot('08-room')
  await p.page.locator('.thread > header .round').last().click()
  await p.page.locator('.members').waitFor()
  await shoot('09-room-details')
  await p.accessible(look + ', details')
  await p.page.locator('.side > header .round').click()
  await back()
  await p.page.locator('.list > header .round').first().click()
  await p.page.locator('.search-box input').fill('野餐')
  await p.page.locator('.hit').first().waitFor()
  await shoot('10-search')
  await p.page.locator('.side > header .round').click()
  await p.page.locator('.list > header .round').nth(1).click()
  await shoot('11-settings')
  await p.accessible(look + ', settings')
  await p.page.locator('dialog details').first().locator('summary').click()
  await p.page.locator('.places li').first().waitFor()
  await p.page.locator('.places').scrollIntoViewIfNeeded()
  await shoot('11b-logins')
  await p.accessible(look + ', where one is signed in')
  await p.page.keyboard.press('Escape')
  await p.page.locator('.list > header .round').nth(2).click()
  await shoot('12-new')
  await p.page.keyboard.press('Escape')
  // The server is slow, then it does not answer.
  world.away = true
  await p.context.route('**/v1/conversations', () => {})
  await p.page.reload()
  await shoot('13-loading')
  await p.context.unroute('**/v1/conversations')
  await p.context.route('**/v1/conversations', (r) => r.abort())
  await p.page.reload()
  await p.page.locator('.list [role=alert]').waitFor()
  await shoot('14-error')
  await p.context.close()
  // Somebody who has nobody yet.
  const alone = await Person.at(world, 'alone' + look, options)
  world.away = false
  await server(world.origin).account(alone.name, 'Alone')
  await alone.page.locator('input').nth(0).fill(alone.name)
  await alone.page.locator('input').nth(1).fill(alone.name + '-secret')
  await alone.page.locator('.primary').click()
  await alone.page.locator('.list .empty').waitFor()
  await alone.page.waitForTimeout(500)
  await alone.page.screenshot({ path: path.join(dir, '15-empty.png') })
  await alone.accessible(look + ', empty')
  await alone.page.goto(new URL('#/u/jon', world.origin).href)
  await alone.page.locator('.messages .ticks').waitFor()
  await alone.page.waitForTimeout(500)
  await alone.page.screenshot({ path: path.join(dir, '16-first-message.png') })
  await alone.accessible(look + ', a first message')
  await alone.context.close()
}
