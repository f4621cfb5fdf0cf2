// Follows inboxes by EventSource in a real browser, the Chromium of the machine.
// One JSON object on stdin says how; one per line on stdout says what happened.
// Each address has a page of its own, as in a browser of its own, that logs in as
// a person does, in the browser's dialogue for Basic. What comes back after a
// cut, and from where, is the browser's own doing.
import { chromium } from 'playwright-core'
import { createInterface } from 'node:readline'

const tell = (event) => process.stdout.write(JSON.stringify(event) + '\n')

async function follow(browser, page, { origin, user, password }) {
  const context = await browser.newContext({ httpCredentials: { username: user, password } })
  const tab = await context.newPage()
  await tab.exposeFunction('tell', (event) => tell({ ...event, page }))
  await tab.goto(origin + '/v1/me')
  await tab.evaluate(() => {
    const source = new EventSource('/v1/stream?after=0')
    source.onopen = () => tell({ event: 'open' })
    source.onmessage = (e) => tell({ event: 'message', id: e.lastEventId, data: e.data })
    source.onerror = () => tell({ event: 'error', closed: source.readyState === EventSource.CLOSED })
  })
}

const lines = createInterface({ input: process.stdin })
const { value } = await lines[Symbol.asyncIterator]().next()
const { program, origins, user, password } = JSON.parse(value)
// The sandbox needs rights that a container's root may not have.
const browser = await chromium.launch({ executablePath: program, args: ['--no-sandbox'] })
lines.on('close', () => browser.close())
await Promise.all(origins.map((origin, page) => follow(browser, page, { origin, user, password })))
