/* secret.h - passwords: that of the session, kept for one thing: to log in again after the connection was lost.
 *
 * Idea.       They lie on a page of their own that is locked (mlock(2): never written to swap) and left out of core
 *             dumps (madvise(2)), and are wiped when they are forgotten. Where the page cannot be locked, the session's
 *             is not kept, and the user logs in again by hand. Copies exist while a request is being made and sent;
 *             secrets_wipe_json(), connection.c and screen.c wipe theirs.
 * Threads.    The main thread.
 */
#ifndef CHAT_SECRET_H
#define CHAT_SECRET_H

#include <stdbool.h>

#include "client_limits.h"

#define SECRET_SIZE (PASSWORD_MAX_BYTES + 2) /* one more than a password may have, to see that it is too long */

struct secrets {
    bool locked;
    char kept[SECRET_SIZE];      /* of the session; "": none, the session is not restored                    */
    char sending[SECRET_SIZE];   /* of the login under way; becomes `kept` with its success                  */
    char given[SECRET_SIZE];     /* from CHAT_PASSWORD or --password-file; "": ask                           */
    char given_new[SECRET_SIZE]; /* from CHAT_NEW_PASSWORD, for /passwd                                      */
};

/* NULL: no memory. */
struct secrets *secrets_new(void);
void secrets_free(struct secrets *secrets);

void secret_wipe(char secret[SECRET_SIZE]);

/* The login was answered: keep its password if there is a lock, and if it was the right one. */
void secrets_login_done(struct secrets *secrets, bool right);

/* From now on, jansson wipes what it frees. */
void secrets_wipe_json(void);

#endif
