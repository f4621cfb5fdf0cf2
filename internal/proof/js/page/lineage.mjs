// The database begins a new epoch: the page reads all again, says so quietly, and
// goes on; what is written meanwhile arrives.
import { Person } from './person.mjs'

export async function story(world) {
  const fay = await Person.at(world, 'fay')
  await fay.register('Fay')
  const gil = await Person.at(world, 'gil')
  await gil.register('Gil')
  await fay.find('gil')
  await fay.write('before')
  await gil.open(/Fay/)
  await gil.sees('before')
  await gil.write('I know')
  await fay.sees('I know')
  world.away = true
  await world.ask('epoch')
  await fay.page.locator('.notice', { hasText: 'Everything was loaded again' }).waitFor()
  world.away = false
  await fay.sees('before')
  await fay.write('after')
  await gil.sees('after')
  await gil.sees('before')
}
