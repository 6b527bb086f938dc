// PostGraphile 5 over siyu's own tables. They have no foreign keys, so the relations are told to it.
import { createServer } from 'node:http'
import { grafserv } from 'postgraphile/grafserv/node'
import { postgraphile } from 'postgraphile'
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber'
import { PostGraphileConnectionFilterPreset } from 'postgraphile-plugin-connection-filter'
import { makePgService } from 'postgraphile/adaptors/pg'
import { jsonPgSmartTags } from 'postgraphile/utils'

const toUser = '(brand_id, user_id) references users (brand_id, id)'
const tables = {
  tag_assignment: [`${toUser}|@fieldName user|@foreignFieldName tags`, '(tag_id) references tag (id)|@fieldName tag'],
  identity: [`${toUser}|@fieldName user|@foreignFieldName identities`],
  user_stage: [`${toUser}|@fieldName user|@foreignFieldName stages`],
  event: [`${toUser}|@fieldName user|@foreignFieldName events`],
  action: [`${toUser}|@fieldName user|@foreignFieldName actions`]
}
const preset = {
  extends: [PostGraphileAmberPreset, PostGraphileConnectionFilterPreset],
  schema: { connectionFilterRelations: true },
  plugins: [
    jsonPgSmartTags({
      version: 1,
      config: {
        class: Object.fromEntries(Object.entries(tables).map(([name, foreignKey]) => [name, { tags: { foreignKey } }]))
      }
    })
  ],
  pgServices: [makePgService({ connectionString: process.env.DATABASE_URL, schemas: ['public'] })],
  grafserv: { graphiql: false, watch: false }
}

const server = createServer()
await postgraphile(preset).createServ(grafserv).addTo(server)
server.listen(Number(process.argv[2]), '127.0.0.1')
