// A conversation of 10,000 messages: scrolled from the end to the beginning and back,
// without a jump, with few rows in the document at any time.
import { strict as assert } from 'node:assert'
import { Person } from './person.mjs'
import { server } from './server.mjs'

const messages = 10_000

/** Scrolls by so many pixels each frame until the end is reached; measures frames, rows and jumps. */
function scroll([by, goal]) {
  const box = document.querySelector('.messages')
  const seen = new Set()
  const frames = []
  let rows = 0
  const jumps = []
  let still = 0
  let last = performance.now()
  let held = null
  return new Promise((done) => {
    const frame = (now) => {
      frames.push(now - last)
      last = now
      const all = box.querySelectorAll('[data-seq]')
      rows = Math.max(rows, all.length)
      if (held) {
        // What was in the middle has moved by as much as was scrolled, and no more.
        const row = box.querySelector(`[data-seq="${held.seq}"]`)
        const by = row ? row.getBoundingClientRect().top - held.top : NaN
        if (!(Math.abs(by) <= 3)) jumps.push({ seq: held.seq, by, rows: `${all[0]?.dataset.seq}-${all[all.length - 1]?.dataset.seq}`, top: box.scrollTop })
      }
      const middle = box.getBoundingClientRect().top + box.clientHeight / 2
      const row = [...all].find((r) => r.getBoundingClientRect().bottom > middle)
      for (const r of all) seen.add(Number(r.dataset.seq))
      const before = box.scrollTop
      box.scrollTop += by
      const moved = box.scrollTop - before
      held = row ? { seq: row.dataset.seq, top: row.getBoundingClientRect().top } : null
      still = moved === 0 ? still + 1 : 0
      if (still > 90 || seen.size >= goal && still > 5) {
        frames.sort((a, b) => a - b)
        const at = (q) => Math.round(frames[Math.floor(frames.length * q)] * 10) / 10
        done({ frames: frames.length, median: at(0.5), p95: at(0.95), p99: at(0.99), longest: at(0.9999), rows, jumps, seen: seen.size })
      } else requestAnimationFrame(frame)
    }
    requestAnimationFrame(frame)
  })
}

export async function story(world) {
  const api = server(world.origin)
  const tokens = { dan: await api.account('dan', 'Dan'), eve: await api.account('eve', 'Eve') }
  const texts = Array.from({ length: messages / 2 }, (_, i) => `${i} ${'words '.repeat(1 + ((i * 7) % 40))}`)
  await Promise.all([
    api.send(tokens.dan, texts.map((body) => ({ to: 'eve', body }))),
    api.send(tokens.eve, texts.map((body) => ({ to: 'dan', body }))),
  ])
  const dan = await Person.at(world, 'dan')
  await dan.signIn()
  await dan.open(/Eve/)
  await dan.page.locator('li.message').first().waitFor()
  // The two send at the same time: what Eve sent last is unread, and there it opens.
  const down = dan.page.locator('.to-end')
  if (await down.isVisible()) await down.click()
  await dan.page.locator(`[data-seq="${messages}"]`).waitFor()
  await dan.page.waitForTimeout(500)
  world.figures.up = await dan.page.evaluate(scroll, [-400, messages])
  world.figures.down = await dan.page.evaluate(scroll, [400, Infinity])
  for (const f of [world.figures.up, world.figures.down]) {
    assert.ok(f.rows <= 260, `${f.rows} rows in the document`)
    // One in a hundred frames, where the machine is too slow to hold what is looked at.
    assert.ok(f.jumps.length <= f.frames / 100, `${f.jumps.length} jumps: ${JSON.stringify(f.jumps.slice(0, 8))}`)
    const lost = f.jumps.filter((j) => !(Math.abs(j.by) <= 300))
    assert.deepEqual(lost, [], 'somebody who reads lost their place')
  }
  assert.equal(world.figures.up.seen, messages)

  // Many new ones come in below: who reads further up stays there. The window that the
  // page begins with grows with what comes in, until it is too long.
  await dan.page.reload()
  await dan.page.locator(`[data-seq="${messages}"]`).waitFor()
  await dan.page.waitForTimeout(500)
  const middle = (seq) =>
    dan.page.evaluate((seq) => {
      const box = document.querySelector('.messages')
      if (!seq) box.scrollTop -= 4000
      const half = box.getBoundingClientRect().top + box.clientHeight / 2
      const row = seq ? box.querySelector(`[data-seq="${seq}"]`) : [...box.querySelectorAll('[data-seq]')].find((r) => r.getBoundingClientRect().bottom > half)
      return row && { seq: row.dataset.seq, top: row.getBoundingClientRect().top }
    }, seq)
  const held = await middle()
  await dan.page.waitForTimeout(300)
  await api.send(tokens.eve, Array.from({ length: 120 }, (_, i) => ({ to: 'dan', body: `below ${i}` })))
  await dan.button('120 new messages below').waitFor()
  assert.ok(Math.abs((await middle(held.seq))?.top - held.top) <= 3, `${held.seq} was at ${held.top}: ${JSON.stringify(await middle(held.seq))}`)
  await dan.button('120 new messages below').click()
  await dan.sees('below 119')
}
