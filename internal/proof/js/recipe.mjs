// Opens the page of docs/clients/mqttjs.md in a real browser, sends by it as a person
// does, and tells on stdout what it shows: recipe.mjs CHROMIUM ADDRESS
import { chromium } from 'playwright-core'

const [program, address] = process.argv.slice(2)
// The sandbox needs rights that a container's root may not have.
const browser = await chromium.launch({ executablePath: program, args: ['--no-sandbox'] })
process.on('SIGINT', async () => { await browser.close(); process.exit() })
const tab = await browser.newPage()
tab.on('console', (m) => console.log('console:', m.text()))
tab.on('pageerror', (e) => console.log('error:', e.message))
await tab.exposeFunction('tell', (text) => console.log(text))
await tab.addInitScript(() => {
  new MutationObserver((all) => {
    for (const m of all) for (const n of m.addedNodes) if (n.nodeName === 'LI') window.tell(n.textContent)
  }).observe(document, { subtree: true, childList: true })
})
await tab.goto(address)
await tab.waitForFunction(() => document.querySelector('form').onsubmit)
await tab.fill('input[name=text]', 'Hello from the page')
await tab.click('button')
