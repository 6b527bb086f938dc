"""GraphQL servers side by side: siyu, a bare route, Strawberry as usually written, PostGraphile and Mercurius."""
