// Asks a DICOMweb service as the viewer Slim does, through the npm package dicomweb-client, and prints what it got.
//
//   node slim.cjs MODULES SERVICE FILE
//
// MODULES is the node_modules folder that holds dicomweb-client, SERVICE the address of the service, FILE a DICOM file
// to store. Bytes are printed as their SHA-256.
const { createHash } = require('crypto')
const { readFileSync } = require('fs')

const [modules, url, file] = process.argv.slice(2)
const { api } = require(`${modules}/dicomweb-client`)

const SLIDE = '1.2.840.10008.5.1.4.1.1.77.1.6'

/** What the client uses of the browser's XMLHttpRequest. */
global.XMLHttpRequest = class {
  #asked = {}
  #headers = {}

  open(method, address) {
    this.#asked = { method: method.toUpperCase(), address }
  }

  setRequestHeader(name, value) {
    this.#headers[name] = value
  }

  getResponseHeader(name) {
    return this.answer.headers.get(name)
  }

  getAllResponseHeaders() {
    return [...this.answer.headers].map((pair) => pair.join(': ')).join('\r\n')
  }

  async send(body) {
    const { method, address } = this.#asked
    this.answer = await fetch(address, { method, body, headers: this.#headers })
    this.status = this.answer.status
    const bytes = await this.answer.arrayBuffer()
    const json = this.responseType === 'json' && bytes.byteLength
    this.response = json ? JSON.parse(Buffer.from(bytes).toString()) : bytes
    this.readyState = 4
    this.onreadystatechange()
  }
}

const digest = (bytes) => createHash('sha256').update(Buffer.from(bytes)).digest('hex')
const value = (element) => element.Value[0]
const place = (row) => ({
  studyInstanceUID: value(row['0020000D']),
  seriesInstanceUID: value(row['0020000E']),
  sopInstanceUID: value(row['00080018']),
})
const stored = [{ mediaType: 'application/octet-stream', transferSyntaxUID: '*' }]

/** Every element of a data set, or of one nested in it, that has an address instead of a value. */
function* references(dataset) {
  for (const [tag, element] of Object.entries(dataset)) {
    if (element.BulkDataURI) yield [tag, element]
    if (element.vr === 'SQ') for (const item of element.Value ?? []) yield* references(item)
  }
}

async function main() {
  const client = new api.DICOMwebClient({ url, verbose: false })
  const got = { frames: {}, bulk: {}, instances: {} }

  const frames = async (metadata, number) => {
    const frameNumbers = [number]
    const found = await client.retrieveInstanceFrames({ ...place(metadata), frameNumbers, mediaTypes: stored })
    got.frames[`${value(metadata['00080018'])} ${number}`] = digest(found[0])
  }
  const bulk = async (metadata) => {
    for (const [tag, { vr, BulkDataURI }] of references(metadata)) {
      const [bytes] = await client.retrieveBulkData({ BulkDataURI })
      got.bulk[BulkDataURI.slice(url.length)] = [tag, vr, digest(bytes)]
    }
  }

  const queryParams = { ModalitiesInStudy: 'SM', PersonName: '*Mosaic*', fuzzymatching: 'true' }
  const [study] = await client.searchForStudies({ queryParams })
  const studyInstanceUID = value(study['0020000D'])
  const of = async (Modality) => {
    const found = await client.searchForSeries({ studyInstanceUID, queryParams: { Modality } })
    return found.map((row) => ({ studyInstanceUID, seriesInstanceUID: value(row['0020000E']) }))
  }

  const [series] = await client.searchForSeries({ queryParams: { Modality: 'SM', StudyInstanceUID: studyInstanceUID } })
  const levels = await client.retrieveSeriesMetadata({
    studyInstanceUID,
    seriesInstanceUID: value(series['0020000E']),
  })
  got.levels = levels.map((level) => value(level['00080018']))
  for (const level of levels) {
    if (value(level['00080016']) !== SLIDE) continue
    await frames(level, value(level['00280008']))
    await bulk(level)
  }
  const mediaTypes = [{ mediaType: 'image/png' }]
  const viewport = { viewport: '320,179', iccprofile: 'yes' }
  got.overview = Buffer.from(
    (await client.retrieveInstanceRendered({ ...place(levels[0]), mediaTypes, queryParams: viewport }))[0],
  ).toString('base64')

  for (const found of [...(await of('ANN')), ...(await of('SEG'))]) {
    for (const metadata of await client.retrieveSeriesMetadata(found)) {
      await bulk(metadata)
      if (metadata['00280008']) await frames(metadata, value(metadata['00280008']))
    }
  }
  for (const row of await client.searchForInstances({ studyInstanceUID, queryParams: { Modality: 'SR' } })) {
    const bytes = await client.retrieveInstance({ studyInstanceUID, ...place(row) })
    got.instances[value(row['00080018'])] = digest(bytes)
  }

  const bytes = readFileSync(file)
  const datasets = [bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)]
  got.stored = JSON.parse(Buffer.from(await client.storeInstances({ datasets })).toString())
  got.absent = await client
    .retrieveSeriesMetadata({ studyInstanceUID, seriesInstanceUID: '1.2.3' })
    .catch((error) => error.status)
  console.log(JSON.stringify(got))
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
