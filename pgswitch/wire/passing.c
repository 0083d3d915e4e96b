/* Skip or classify messages without looking at each.
 *
 * The same as passing.py, which says what each function takes and returns.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

#define HEADER 5
#define TYPES 256
#define TAG 3
#define PREPARE 12
#define DISCARD_ALL 16
#define DEALLOCATE_ALL 19

static inline uint32_t
length_at(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8
           | (uint32_t)at[3];
}

static PyObject *
passing_skip_messages(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    const unsigned char *chunk, *actions;
    Py_ssize_t position, last;
    long long limit;

    if (count != 4 || !PyBytes_Check(args[0]) || !PyBytes_Check(args[2])
        || PyBytes_GET_SIZE(args[2]) != TYPES) {
        PyErr_SetString(PyExc_TypeError,
                        "skip_messages takes bytes, a position, 256 bytes, a limit");
        return NULL;
    }
    chunk = (const unsigned char *)PyBytes_AS_STRING(args[0]);
    actions = (const unsigned char *)PyBytes_AS_STRING(args[2]);
    position = PyLong_AsSsize_t(args[1]);
    limit = PyLong_AsLongLong(args[3]);
    if (PyErr_Occurred())
        return NULL;
    if (position < 0) {
        PyErr_SetString(PyExc_ValueError, "the position is negative");
        return NULL;
    }
    last = PyBytes_GET_SIZE(args[0]) - HEADER;
    while (position <= last) {
        unsigned char action = actions[chunk[position]];
        uint32_t length = length_at(chunk + position + 1);
        if (action
            && (action != TAG || length == PREPARE || length == DISCARD_ALL
                || length == DEALLOCATE_ALL))
            break;
        if (length < HEADER - 1 || length >= limit)
            break;
        position += (Py_ssize_t)length + 1;
    }
    return PyLong_FromSsize_t(position);
}

static inline int
is_blank(unsigned char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r') || byte == ';';
}

static inline int
is_in_word(unsigned char byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z')
           || byte == '_' || byte == '$' || byte >= 0x80;
}

/* The place behind blanks, comments (which nest) and empty statements. */
static const unsigned char *
behind_blanks(const unsigned char *text, const unsigned char *end)
{
    while (text < end) {
        if (is_blank(*text)) {
            text++;
        } else if (end - text >= 2 && text[0] == '-' && text[1] == '-') {
            while (text < end && *text != '\n' && *text != '\r')
                text++;
        } else if (end - text >= 2 && text[0] == '/' && text[1] == '*') {
            int depth = 1;
            for (text += 2; depth && text < end; text++) {
                if (end - text >= 2 && text[0] == '*' && text[1] == '/')
                    depth--, text++;
                else if (end - text >= 2 && text[0] == '/' && text[1] == '*')
                    depth++, text++;
            }
        } else {
            return text;
        }
    }
    return end;
}

static int
begins_with_keyword(const unsigned char *text, const unsigned char *end)
{
    static const char *const words[] = {
        "prepare", "execute", "explain", "deallocate", "discard", "do", "reset",
    };
    size_t which;

    text = behind_blanks(text, end);
    if (text == end || strchr("pedr", *text | 0x20) == NULL)
        return 0;
    for (which = 0; which < sizeof words / sizeof *words; which++) {
        const char *word = words[which];
        const unsigned char *at = text;
        while (*word && at < end && (*at | 0x20) == *word)
            word++, at++;
        if (!*word && (at == end || !is_in_word(*at)))
            return 1;
    }
    return 0;
}

/* Whether a text may be about statements prepared by SQL, or reset parameters. */
static int
is_suspect(const unsigned char *text, const unsigned char *end)
{
    while (text != NULL && text < end) {
        if (begins_with_keyword(text, end))
            return 1;
        text = memchr(text, ';', end - text);
        if (text != NULL)
            text++;
    }
    return 0;
}

static PyObject *
passing_classify_chunk(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    const unsigned char *chunk, *at, *end;
    long long limit;
    long kind = 'S';
    int parsed = 0;

    if (count != 2 || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "classify_chunk takes bytes and a limit");
        return NULL;
    }
    limit = PyLong_AsLongLong(args[1]);
    if (limit == -1 && PyErr_Occurred())
        return NULL;
    at = chunk = (const unsigned char *)PyBytes_AS_STRING(args[0]);
    end = chunk + PyBytes_GET_SIZE(args[0]);
    while (end - at >= HEADER) {
        uint32_t length = length_at(at + 1);
        const unsigned char *body = at + HEADER, *next = at + 1 + (size_t)length;
        if (length < HEADER - 1 || length >= limit || length >= end - at)
            return PyLong_FromLong(0);
        switch (*at) {
        case 'Q':
            if (at != chunk || next != end || body == next || is_suspect(body, next))
                return PyLong_FromLong(0);
            return PyLong_FromLong('Q');
        case 'P':
            if (body == next || *body || is_suspect(body + 1, next))
                return PyLong_FromLong(0);
            parsed = 1;
            break;
        case 'B':
            if (next - body < 2 || body[0])
                return PyLong_FromLong(0);
            if (body[1]) {
                if (at != chunk || memchr(body + 1, 0, next - body - 1) == NULL)
                    return PyLong_FromLong(0);
                kind = 'B';
            } else if (!parsed) {
                if (kind == 'B')
                    return PyLong_FromLong(0);
                kind = 'U';
            }
            break;
        case 'D':
            if (next == body || (*body != 'P' && (*body != 'S' || next - body < 2 || body[1])))
                return PyLong_FromLong(0);
            if (*body == 'S' && !parsed) {
                if (kind == 'B')
                    return PyLong_FromLong(0);
                kind = 'U';
            }
            break;
        case 'E':
            if (end - next != HEADER || *next != 'S')
                return PyLong_FromLong(0);
            break;
        case 'S':
            if (at == chunk || next != end || length != HEADER - 1)
                return PyLong_FromLong(0);
            return PyLong_FromLong(kind);
        default:
            return PyLong_FromLong(0);
        }
        at = next;
    }
    return PyLong_FromLong(0);
}

static PyObject *
passing_bind_statement(PyObject *module, PyObject *chunk)
{
    const char *name, *end;
    Py_ssize_t left;

    if (!PyBytes_Check(chunk)) {
        PyErr_SetString(PyExc_TypeError, "bind_statement takes bytes");
        return NULL;
    }
    left = PyBytes_GET_SIZE(chunk) - HEADER - 1;
    name = PyBytes_AS_STRING(chunk) + HEADER + 1;
    end = left > 0 ? memchr(name, 0, left) : NULL;
    return PyBytes_FromStringAndSize(name, end == NULL ? 0 : end - name);
}

static PyObject *
passing_rename_bind(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    const unsigned char *chunk, *rest;
    unsigned char *put;
    PyObject *result;
    Py_ssize_t size, before, after;
    uint32_t length;

    if (count != 3 || !PyBytes_Check(args[0]) || !PyBytes_Check(args[1])
        || !PyBytes_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "rename_bind takes bytes and two names");
        return NULL;
    }
    chunk = (const unsigned char *)PyBytes_AS_STRING(args[0]);
    size = PyBytes_GET_SIZE(args[0]);
    before = PyBytes_GET_SIZE(args[1]);
    after = PyBytes_GET_SIZE(args[2]);
    if (size < HEADER + 2 + before) {
        PyErr_SetString(PyExc_ValueError, "the Bind is cut");
        return NULL;
    }
    result = PyBytes_FromStringAndSize(NULL, size - before + after);
    if (result == NULL)
        return NULL;
    put = (unsigned char *)PyBytes_AS_STRING(result);
    length = length_at(chunk + 1) + (uint32_t)(after - before);
    put[0] = chunk[0];
    put[1] = length >> 24;
    put[2] = length >> 16;
    put[3] = length >> 8;
    put[4] = length;
    put[5] = 0;
    memcpy(put + HEADER + 1, PyBytes_AS_STRING(args[2]), after);
    rest = chunk + HEADER + 1 + before;
    memcpy(put + HEADER + 1 + after, rest, chunk + size - rest);
    return result;
}

static PyObject *
passing_suspect(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    const unsigned char *chunk;
    Py_ssize_t begin, end;

    if (count != 3 || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "suspect takes bytes and two positions");
        return NULL;
    }
    begin = PyLong_AsSsize_t(args[1]);
    end = PyLong_AsSsize_t(args[2]);
    if (PyErr_Occurred())
        return NULL;
    if (begin < 0 || begin > PyBytes_GET_SIZE(args[0]))
        begin = PyBytes_GET_SIZE(args[0]);
    if (end < begin)
        end = begin;
    if (end > PyBytes_GET_SIZE(args[0]))
        end = PyBytes_GET_SIZE(args[0]);
    chunk = (const unsigned char *)PyBytes_AS_STRING(args[0]);
    return PyBool_FromLong(is_suspect(chunk + begin, chunk + end));
}

static PyMethodDef functions[] = {
    {"skip_messages", (PyCFunction)(void (*)(void))passing_skip_messages, METH_FASTCALL,
     "Return where the first message begins that needs a look."},
    {"classify_chunk", (PyCFunction)(void (*)(void))passing_classify_chunk, METH_FASTCALL,
     "Return what a chunk asks for, if that is one whole query."},
    {"suspect", (PyCFunction)(void (*)(void))passing_suspect, METH_FASTCALL,
     "Tell whether a text may be about prepared statements of SQL."},
    {"bind_statement", passing_bind_statement, METH_O,
     "Return the statement that a chunk's Bind names."},
    {"rename_bind", (PyCFunction)(void (*)(void))passing_rename_bind, METH_FASTCALL,
     "Return a chunk with the statement that its Bind names renamed."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pgswitch.wire.passing",
    .m_doc = "Skip or classify messages without looking at each.",
    .m_size = 0,
    .m_methods = functions,
};

PyMODINIT_FUNC
PyInit_passing(void)
{
    return PyModuleDef_Init(&definition);
}
