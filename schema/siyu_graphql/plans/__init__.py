"""Lists at the speed of the database: a document that comes again is compiled once.

Its selection becomes SQL that reads flat rows, and code that writes JSON from them, both made from what ``nouns``
declares of each type. What a plan does not know, and whatever has to be refused, is answered by resolvers instead, the
whole request: there are no two ways of saying no.
"""
