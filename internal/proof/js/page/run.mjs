// Tells stories at the chat page, in the Chromium of the machine. One JSON object on
// stdin says which and where; then each line on stdout asks the test for something
// ({"ask":"kill"}), which it answers with a line, or tells a result.
import { chromium } from 'playwright-core'
import { createInterface } from 'node:readline'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const tell = (event) => process.stdout.write(JSON.stringify(event) + '\n')

const config = JSON.parse((await lines.next()).value)
// The sandbox needs rights that a container's root may not have.
const browser = await chromium.launch({ executablePath: config.program, args: ['--no-sandbox', '--disable-background-networking'] })

for (const name of config.stories) {
  const began = Date.now()
  const world = {
    browser,
    origin: config.origin,
    shots: config.shots,
    patience: config.patience,
    faults: [],
    away: false,
    figures: {},
    /** Notes the seconds that the story has taken so far. */
    mark(what) {
      this.figures[what] = (Date.now() - began) / 1000
    },
    /** Has the test do something with the server; it is done when this returns. */
    async ask(what) {
      tell({ ask: what })
      return JSON.parse((await lines.next()).value)
    },
  }
  try {
    const { story } = await import(`./${name}.mjs`)
    await story(world)
  } catch (e) {
    world.faults.push(e.stack ?? String(e))
    for (const context of browser.contexts()) {
      for (const page of context.pages()) {
        const shown = await page.locator('body').innerText({ timeout: 2000 }).catch((e) => String(e))
        world.faults.push(`${page.url()} shows: ${shown.slice(0, 1500)}`)
      }
    }
  }
  for (const context of browser.contexts()) await context.close()
  tell({ story: name, seconds: (Date.now() - began) / 1000, faults: world.faults, figures: world.figures })
}
await browser.close()
process.exit(0)
