/* eslint-disable */
/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
import type { DocumentTypeDecoration } from '@graphql-typed-document-node/core';
/** What a token is for. */
export type Role =
  /** All that, and sets plugins. */
  | 'ADMIN'
  /** Reads, and reports events. */
  | 'DEVELOPER'
  /** Reads, reports events, and asks for refreshes. */
  | 'OPERATOR'
  /** Reads. */
  | 'VIEWER';

/** How far a run is. */
export type RunStatus =
  /** Is done. */
  | 'DONE'
  /** Ended with an error; what stood before still stands. */
  | 'FAILED'
  /** Is under way. */
  | 'RUNNING';

/** A stage of a track. */
export type StageFilter = {
  /** The key of the stage: `dormant`. */
  key: string;
  /** The track: `lifecycle`. */
  track: string;
};

/** Which users. What is left out does not restrict; what is given must hold all together. A tag or stage that the brand does not have is one that nobody has. */
export type UserFilter = {
  /** With at least one of these tags, by key. */
  anyTag?: Array<string> | null | undefined;
  /** Who stand in this stage. */
  stage?: StageFilter | null | undefined;
  /** With all of these tags, by key. */
  tag?: Array<string> | null | undefined;
};

export type SessionQueryVariables = Exact<{ [key: string]: never; }>;


export type SessionQuery = { me: { name: string, role: Role }, brands: Array<{ slug: string, name: string }> };

export type RunProgressSubscriptionVariables = Exact<{
  brand: string;
}>;


export type RunProgressSubscription = { runProgress: { id: string, status: RunStatus, progress: number, users: number, changes: number } };

export type FiltersQueryVariables = Exact<{
  brand: string;
}>;


export type FiltersQuery = { brand: { now: string, stages: Array<{ track: string, key: string, title: string, users: number }>, tags: Array<{ key: string, title: string, plugin: string, users: number }> } | null };

export type UsersQueryVariables = Exact<{
  brand: string;
  filter?: UserFilter | null | undefined;
  first: number;
  after?: string | null | undefined;
}>;


export type UsersQuery = { brand: { users: { totalCount: number, pageInfo: { hasNextPage: boolean, endCursor: string | null }, nodes: Array<{ id: string, attributes: unknown, lastSeen: string, identities: Array<{ kind: string, value: string }>, stages: Array<{ track: string, key: string, title: string, since: string, because: string }>, tags: Array<{ key: string, title: string, plugin: string, since: string, because: string }> }> } } | null };

export type UserRowFragment = { id: string, attributes: unknown, lastSeen: string, identities: Array<{ kind: string, value: string }>, stages: Array<{ track: string, key: string, title: string, since: string, because: string }>, tags: Array<{ key: string, title: string, plugin: string, since: string, because: string }> };

export class TypedDocumentString<TResult, TVariables>
  extends String
  implements DocumentTypeDecoration<TResult, TVariables>
{
  __apiType?: NonNullable<DocumentTypeDecoration<TResult, TVariables>['__apiType']>;
  private value: string;
  public __meta__?: Record<string, any> | undefined;

  constructor(value: string, __meta__?: Record<string, any> | undefined) {
    super(value);
    this.value = value;
    this.__meta__ = __meta__;
  }

  override toString(): string & DocumentTypeDecoration<TResult, TVariables> {
    return this.value;
  }
}
export const UserRowFragmentDoc = new TypedDocumentString(`
    fragment UserRow on User {
  id
  attributes
  lastSeen
  identities {
    kind
    value
  }
  stages {
    track
    key
    title
    since
    because
  }
  tags {
    key
    title
    plugin
    since
    because
  }
}
    `, {"fragmentName":"UserRow"}) as unknown as TypedDocumentString<UserRowFragment, unknown>;
export const SessionDocument = new TypedDocumentString(`
    query Session {
  me {
    name
    role
  }
  brands {
    slug
    name
  }
}
    `) as unknown as TypedDocumentString<SessionQuery, SessionQueryVariables>;
export const RunProgressDocument = new TypedDocumentString(`
    subscription RunProgress($brand: String!) {
  runProgress(brand: $brand) {
    id
    status
    progress
    users
    changes
  }
}
    `) as unknown as TypedDocumentString<RunProgressSubscription, RunProgressSubscriptionVariables>;
export const FiltersDocument = new TypedDocumentString(`
    query Filters($brand: String!) {
  brand(slug: $brand) {
    now
    stages {
      track
      key
      title
      users
    }
    tags {
      key
      title
      plugin
      users
    }
  }
}
    `) as unknown as TypedDocumentString<FiltersQuery, FiltersQueryVariables>;
export const UsersDocument = new TypedDocumentString(`
    query Users($brand: String!, $filter: UserFilter, $first: Int!, $after: String) {
  brand(slug: $brand) {
    users(
      first: $first
      after: $after
      filter: $filter
      orderBy: {field: LAST_SEEN, direction: DESC}
    ) {
      totalCount
      pageInfo {
        hasNextPage
        endCursor
      }
      nodes {
        ...UserRow
      }
    }
  }
}
    fragment UserRow on User {
  id
  attributes
  lastSeen
  identities {
    kind
    value
  }
  stages {
    track
    key
    title
    since
    because
  }
  tags {
    key
    title
    plugin
    since
    because
  }
}`) as unknown as TypedDocumentString<UsersQuery, UsersQueryVariables>;