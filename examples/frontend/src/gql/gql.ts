/* eslint-disable */
import * as types from './graphql';



/**
 * Map of all GraphQL operations in the project.
 *
 * This map has several performance disadvantages:
 * 1. It is not tree-shakeable, so it will include all operations in the project.
 * 2. It is not minifiable, so the string of a GraphQL query will be multiple times inside the bundle.
 * 3. It does not support dead code elimination, so it will add unused operations.
 *
 * Therefore it is highly recommended to use the babel or swc plugin for production.
 * Learn more about it here: https://the-guild.dev/graphql/codegen/plugins/presets/preset-client#reducing-bundle-size
 */
type Documents = {
    "query Session {\n  me {\n    name\n    role\n  }\n  brands {\n    slug\n    name\n  }\n}": typeof types.SessionDocument,
    "subscription RunProgress($brand: String!) {\n  runProgress(brand: $brand) {\n    id\n    status\n    progress\n    users\n    changes\n  }\n}": typeof types.RunProgressDocument,
    "query Filters($brand: String!) {\n  brand(slug: $brand) {\n    now\n    stages {\n      track\n      key\n      title\n      users\n    }\n    tags {\n      key\n      title\n      plugin\n      users\n    }\n  }\n}\n\nquery Users($brand: String!, $filter: UserFilter, $first: Int!, $after: String) {\n  brand(slug: $brand) {\n    users(\n      first: $first\n      after: $after\n      filter: $filter\n      orderBy: {field: LAST_SEEN, direction: DESC}\n    ) {\n      totalCount\n      pageInfo {\n        hasNextPage\n        endCursor\n      }\n      nodes {\n        ...UserRow\n      }\n    }\n  }\n}\n\nfragment UserRow on User {\n  id\n  attributes\n  lastSeen\n  identities {\n    kind\n    value\n  }\n  stages {\n    track\n    key\n    title\n    since\n    because\n  }\n  tags {\n    key\n    title\n    plugin\n    since\n    because\n  }\n}": typeof types.FiltersDocument,
};
const documents: Documents = {
    "query Session {\n  me {\n    name\n    role\n  }\n  brands {\n    slug\n    name\n  }\n}": types.SessionDocument,
    "subscription RunProgress($brand: String!) {\n  runProgress(brand: $brand) {\n    id\n    status\n    progress\n    users\n    changes\n  }\n}": types.RunProgressDocument,
    "query Filters($brand: String!) {\n  brand(slug: $brand) {\n    now\n    stages {\n      track\n      key\n      title\n      users\n    }\n    tags {\n      key\n      title\n      plugin\n      users\n    }\n  }\n}\n\nquery Users($brand: String!, $filter: UserFilter, $first: Int!, $after: String) {\n  brand(slug: $brand) {\n    users(\n      first: $first\n      after: $after\n      filter: $filter\n      orderBy: {field: LAST_SEEN, direction: DESC}\n    ) {\n      totalCount\n      pageInfo {\n        hasNextPage\n        endCursor\n      }\n      nodes {\n        ...UserRow\n      }\n    }\n  }\n}\n\nfragment UserRow on User {\n  id\n  attributes\n  lastSeen\n  identities {\n    kind\n    value\n  }\n  stages {\n    track\n    key\n    title\n    since\n    because\n  }\n  tags {\n    key\n    title\n    plugin\n    since\n    because\n  }\n}": types.FiltersDocument,
};

/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "query Session {\n  me {\n    name\n    role\n  }\n  brands {\n    slug\n    name\n  }\n}"): typeof import('./graphql').SessionDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "subscription RunProgress($brand: String!) {\n  runProgress(brand: $brand) {\n    id\n    status\n    progress\n    users\n    changes\n  }\n}"): typeof import('./graphql').RunProgressDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "query Filters($brand: String!) {\n  brand(slug: $brand) {\n    now\n    stages {\n      track\n      key\n      title\n      users\n    }\n    tags {\n      key\n      title\n      plugin\n      users\n    }\n  }\n}\n\nquery Users($brand: String!, $filter: UserFilter, $first: Int!, $after: String) {\n  brand(slug: $brand) {\n    users(\n      first: $first\n      after: $after\n      filter: $filter\n      orderBy: {field: LAST_SEEN, direction: DESC}\n    ) {\n      totalCount\n      pageInfo {\n        hasNextPage\n        endCursor\n      }\n      nodes {\n        ...UserRow\n      }\n    }\n  }\n}\n\nfragment UserRow on User {\n  id\n  attributes\n  lastSeen\n  identities {\n    kind\n    value\n  }\n  stages {\n    track\n    key\n    title\n    since\n    because\n  }\n  tags {\n    key\n    title\n    plugin\n    since\n    because\n  }\n}"): typeof import('./graphql').FiltersDocument;


export function graphql(source: string) {
  return (documents as any)[source] ?? {};
}
