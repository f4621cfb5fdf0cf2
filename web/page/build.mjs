// Builds the page into dist/, which is committed: the server embeds it, so that
// nobody needs Node to run one. With --check it builds elsewhere and compares: what
// is committed must be what the source makes, byte for byte.
import { build } from 'vite'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { brotliCompressSync, brotliDecompressSync, constants, gunzipSync, gzipSync } from 'node:zlib'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import path from 'node:path'

const root = path.dirname(fileURLToPath(import.meta.url))
const committed = path.join(root, 'dist')

async function make(outDir) {
  await build({
    root,
    base: './',
    configFile: false,
    logLevel: 'error',
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
    build: {
      outDir,
      emptyOutDir: true,
      target: 'es2022',
      // The Content-Security-Policy knows no data: addresses and no inline script.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      reportCompressedSize: false,
      chunkSizeWarningLimit: 1000,
    },
  })
  await writeFile(path.join(outDir, 'licences.txt'), await licences())
  for (const file of await list(outDir)) {
    if (!file.startsWith('assets/')) continue
    const plain = await readFile(path.join(outDir, file))
    const best = { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY, [constants.BROTLI_PARAM_SIZE_HINT]: plain.length } }
    await writeFile(path.join(outDir, file + '.br'), brotliCompressSync(plain, best))
    await writeFile(path.join(outDir, file + '.gz'), gzipSync(plain, { level: 9 }))
  }
}

// The page holds other people's work, whose licences ask to come along: those of all
// packages that it may be made of, served as /licences.txt.
async function licences() {
  const lock = JSON.parse(await readFile(path.join(root, 'package-lock.json'), 'utf8'))
  let text = 'The chat page of Postbox is made with these packages.\n'
  for (const [at, one] of Object.entries(lock.packages).sort()) {
    if (at === '' || one.dev || one.devOptional) continue
    const dir = path.join(root, at)
    const file = (await readdir(dir)).sort().find((f) => /^(licen[cs]e|copying)(\.(md|txt|mit))?$/i.test(f))
    const terms = file ? (await readFile(path.join(dir, file), 'utf8')).replace(/\r/g, '').trim() : 'Licence: ' + one.license
    text += `\n${'='.repeat(72)}\n${at.replace(/^.*node_modules\//, '')} ${one.version} (${one.license})\n\n${terms}\n`
  }
  return text
}

async function list(dir) {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  return entries
    .filter((e) => e.isFile())
    .map((e) => path.relative(dir, path.join(e.parentPath, e.name)).split(path.sep).join('/'))
    .sort()
}

// Compressors differ from one version of Node to the next, what they hold does not.
function content(name, bytes) {
  if (name.endsWith('.br')) return brotliDecompressSync(bytes)
  if (name.endsWith('.gz')) return gunzipSync(bytes)
  return bytes
}

async function check() {
  const fresh = await mkdtemp(path.join(tmpdir(), 'postbox-page-'))
  try {
    await make(fresh)
    const names = [...new Set([...(await list(fresh)), ...(await list(committed))])]
    const faults = []
    for (const name of names) {
      const [want, got] = await Promise.all([fresh, committed].map((dir) => readFile(path.join(dir, name)).catch(() => null)))
      if (!got) faults.push(`${name} is missing`)
      else if (!want) faults.push(`${name} is not made from this source`)
      else if (!content(name, want).equals(content(name, got))) faults.push(`${name} differs`)
    }
    if (faults.length > 0) {
      console.error('web/page/dist is not what web/page/src makes; run "make page" and commit it:\n  ' + faults.join('\n  '))
      process.exitCode = 1
    }
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
}

await (process.argv.includes('--check') ? check() : make(committed))
