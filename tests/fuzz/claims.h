/* claims.h - what the payload of a frame says to a view (view.h), and whether the view can believe it. */
#ifndef TESTS_FUZZ_CLAIMS_H
#define TESTS_FUZZ_CLAIMS_H

#include "support_json.h"
#include "view.h"

/* Nobody is logged in any more: nothing is known. */
void view_forget(struct view *view);

void claims_of_reply(struct view *view, const struct expectation *request, const json_t *reply);
void claims_of_push(struct view *view, uint16_t cmd, const json_t *push);

/* ---- claims_messages.c ---- */

/* A string; NULL: none. An integer, which must be there. Whether a string is there, and is this one. */
const char *text_of(const json_t *object, const char *key);
json_int_t number_of(const json_t *object, const char *key);
bool is(const char *text, const char *other);

/* "u2": 2; -1: not watched. */
int user_of(const char *name);

void take_chat_push(struct view *view, const json_t *push);
void take_chat_success(struct view *view, const json_t *request, const json_t *reply);
void take_chat_refusal(struct view *view, const json_t *request);
void take_history(struct view *view, const json_t *request, const json_t *reply);
void take_unread(struct view *view, const json_t *list);

#endif
