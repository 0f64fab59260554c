#include "chat/names.h"

#include <assert.h>
#include <stdlib.h>

void names_fini(struct names *names)
{
    free(names->items);
    *names = (struct names){0};
}

bool names_reserve(struct names *names)
{
    uint32_t capacity = names->capacity > 0 ? 2 * names->capacity : 4;
    struct name **items;

    if (names->count < names->capacity)
        return true;
    items = realloc(names->items, capacity * sizeof *items);
    if (items == NULL)
        return false;
    names->items = items;
    names->capacity = capacity;
    return true;
}

size_t names_lower_bound(const struct names *names, struct slice name)
{
    size_t low = 0, high = names->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (slice_compare(name_slice(names->items[middle]), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Index of this very name, behind others that are spelled alike (I1); names->count: it is not there. */
static size_t position(const struct names *names, const struct name *name)
{
    size_t at = names_lower_bound(names, name_slice(name));

    while (at < names->count && names->items[at] != name) {
        if (!slice_equal(name_slice(names->items[at]), name_slice(name)))
            return names->count;
        at++;
    }
    return at;
}

void names_insert(struct names *names, struct name *name)
{
    size_t at = names_lower_bound(names, name_slice(name));

    assert(names->count < names->capacity);
    memmove(&names->items[at + 1], &names->items[at], (names->count - at) * sizeof names->items[0]);
    names->items[at] = name;
    names->count++;
}

void names_remove(struct names *names, const struct name *name)
{
    size_t at = position(names, name);

    assert(at < names->count);
    names->count--;
    memmove(&names->items[at], &names->items[at + 1], (names->count - at) * sizeof names->items[0]);
}

bool names_contain(const struct names *names, const struct name *name)
{
    return position(names, name) < names->count;
}
