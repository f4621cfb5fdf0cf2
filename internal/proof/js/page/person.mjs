// A person at the chat page: what they do, by what they see and can name.
import { createRequire } from 'node:module'
import { strict as assert } from 'node:assert'

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js')

export const desktop = { viewport: { width: 1280, height: 800 }, locale: 'en-GB' }
export const phone = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, locale: 'en-GB' }

export class Person {
  /** Sits down at a browser of their own. */
  static async at(world, name, options = desktop) {
    const p = new Person()
    p.world = world
    p.name = name
    p.context = await world.browser.newContext(options)
    p.context.setDefaultTimeout(world.patience)
    await p.context.addInitScript({ path: axe })
    p.page = await p.tab()
    return p
  }

  async tab() {
    const page = await this.context.newPage()
    page.on('console', (m) => {
      if (m.type() !== 'error' && m.type() !== 'warning') return
      // While the server is away the browser itself complains of the network.
      if (this.world.away && /WebSocket|ERR_|Failed to load resource/.test(m.text())) return
      this.world.faults.push(`${this.name}: console ${m.type()}: ${m.text()} (${m.location().url})`)
    })
    page.on('pageerror', (e) => this.world.faults.push(`${this.name}: ${e.stack}`))
    await page.goto(this.world.origin)
    return page
  }

  button(name) {
    return this.page.getByRole('button', { name, exact: true })
  }

  list() {
    return this.page.getByRole('navigation', { name: 'Conversations' })
  }

  row(of) {
    return this.list().getByRole('link', { name: of })
  }

  async register(display) {
    await this.button('Create account').click()
    await this.page.getByLabel('User name').fill(this.name)
    await this.page.getByLabel('Your name').fill(display)
    await this.page.getByLabel('Password', { exact: true }).fill(this.name + '-secret')
    await this.button('Create account').click()
    await this.list().waitFor()
  }

  async signIn() {
    await this.page.getByLabel('User name').fill(this.name)
    await this.page.getByLabel('Password', { exact: true }).fill(this.name + '-secret')
    await this.button('Sign in').click()
    await this.list().waitFor()
  }

  /** Finds somebody by user name and opens the conversation. */
  async find(user) {
    await this.button('New conversation').first().click()
    await this.page.getByLabel('User name of the person').fill(user)
    await this.button('Start').click()
    await this.box().waitFor()
  }

  async open(of) {
    await this.row(of).click()
    await this.box().waitFor()
  }

  box() {
    return this.page.getByRole('textbox', { name: /^Message / })
  }

  async write(text) {
    await this.box().fill(text)
    await this.box().press('Enter')
  }

  message(text) {
    return this.page.locator('li.message', { has: this.page.locator('.text', { hasText: text }) })
  }

  /** Waits until a message is shown, and how far it has come. */
  async sees(text, mark) {
    const m = this.message(text)
    await m.waitFor()
    if (mark) await m.getByRole('img', { name: mark, exact: true }).waitFor()
  }

  async act(text, action) {
    const m = this.message(text)
    await m.hover()
    await m.getByRole('button', { name: 'Message actions' }).click()
    await this.page.getByRole('menuitem', { name: action }).click()
  }

  /** The texts of all messages in the document that match, in order. */
  texts(prefix) {
    return this.page.locator('li.message .text').evaluateAll((all, p) => all.map((e) => e.textContent).filter((s) => s.startsWith(p)), prefix)
  }

  /** Waits until nothing waits any more to be sent. */
  async settled() {
    await this.page.waitForFunction(() => document.querySelectorAll('li.waiting').length === 0)
  }

  /** Asks the server for the latest messages, past the page. */
  async history(of, limit = 500) {
    const answer = await this.page.evaluate(
      async ([of, limit]) => {
        const { access } = JSON.parse(localStorage.getItem('postbox.login'))
        const r = await fetch('/v1/history', {
          method: 'POST',
          headers: { 'Content-Type': 'application/json', Authorization: 'Bearer ' + access },
          body: JSON.stringify({ ...of, limit }),
        })
        return r.json()
      },
      [of, limit],
    )
    return answer.messages
  }

  /** Fails if axe-core finds anything serious in what is shown. */
  async accessible(where) {
    const { violations } = await this.page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }))
    for (const v of violations) {
      const at = v.nodes.map((n) => `${n.target} ${n.failureSummary}`).join('; ')
      if (v.impact === 'serious' || v.impact === 'critical') this.world.faults.push(`axe-core, ${where}: ${v.id}: ${v.help}: ${at}`)
    }
  }
}

/** Exactly these, in this order, each once. */
export function exactly(got, want, what) {
  assert.deepEqual(got, want, what)
}
