/* scope.h - scopes, patterns that cover them, and the names of roles and tenants. */
#ifndef BASE_SCOPE_H
#define BASE_SCOPE_H
#include "base/text.h"

enum { SCOPE_MAX = 64, SCOPES_MAX = 64, ROLE_MAX = 32, TENANT_MAX = 64 };

bool next_word(sl_str *rest, sl_str *word);  /* of a text with blanks between words; false when none is left */
sl_str words_of_json(arena *a, sl_str json); /* ["a","b"] of such words as a text with blanks; absent stays absent */
/* Does one of the patterns (words) cover the scope? A pattern is a scope ("oracle:read"), "oracle:*", "*:read" or "*".
 * A leading star stands for services: `admin` and `admin:...` are covered only by patterns that begin with that word.
 */
bool scope_covers(sl_str patterns, sl_str scope);
/* NULL, or what the text must be, as the end of a sentence. */
const char *scope_check(sl_str pattern);
const char *tenant_check(sl_str tenant);
/* "NAME:BCRYPT:ROLE" or "NAME:BCRYPT:ROLE:TENANT|TENANT", as auth.users lists them; "*" = every tenant. */
const char *user_check(sl_str user);
const char *role_check(sl_str role); /* "NAME SCOPE SCOPE ...", as auth.roles lists them */
#endif
