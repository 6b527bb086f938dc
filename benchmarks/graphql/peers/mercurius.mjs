// Mercurius with JIT, the data by one SQL that makes JSON: what it is fastest with.
import Fastify from 'fastify'
import mercurius from 'mercurius'
import pg from 'pg'

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10, options: '-c jit=off -c random_page_cost=1.1' })

const schema = `
  scalar JSON
  type Identity { kind: String! value: String! }
  type UserTag { key: String! title: String! since: String! }
  type User { id: ID! attributes: JSON! lastSeen: String! identities: [Identity!]! tags: [UserTag!]! }
  type Users { nodes: [User!]! }
  type Brand { users(first: Int!): Users! }
  type Query { brand(slug: String!): Brand }
`

const page = {
  name: 'page',
  text: `
    SELECT json_agg(json_build_object('id', u.id, 'attributes', u.attributes, 'lastSeen', u.last_seen,
      'identities', i.identities, 'tags', t.tags) ORDER BY u.id) AS nodes
    FROM (SELECT id, attributes, last_seen FROM users WHERE brand_id = 1 ORDER BY id LIMIT $1) u
    CROSS JOIN LATERAL (
      SELECT json_agg(json_build_object('kind', kind, 'value', value) ORDER BY kind) AS identities
      FROM identity WHERE brand_id = 1 AND user_id = u.id) i
    CROSS JOIN LATERAL (
      SELECT json_agg(json_build_object('key', g.key, 'title', g.title, 'since', a.since) ORDER BY g.key) AS tags
      FROM tag_assignment a JOIN tag g ON g.id = a.tag_id WHERE a.brand_id = 1 AND a.user_id = u.id) t`
}

const resolvers = {
  Query: { brand: () => ({}) },
  Brand: {
    users: async (_, { first }) => {
      const { rows } = await pool.query({ ...page, values: [first] })
      return { nodes: rows[0].nodes }
    }
  }
}

const app = Fastify()
app.register(mercurius, { schema, resolvers, jit: 1 })
await app.listen({ port: Number(process.argv[2]), host: '127.0.0.1' })
