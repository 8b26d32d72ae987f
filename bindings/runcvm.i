/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The Python module under runcvm/__init__.py: every public function, one to one.
 *
 *   errors    A typemap on `rcvm_error **err` raises runcvm.Error: no function has an error argument.
 *   threads   The GIL is released around every call: a call may wait for the object's lock while its
 *             holder waits for the GIL in a callback.  Callbacks take the GIL themselves.
 *   strings   str, bytes and os.PathLike go in; str comes out (UTF-8, with surrogateescape).
 */
%module(package = "runcvm", threads = "1") raw

%{
#include <runcvm/runcvm.h>
%}

%include <stdint.i>
%include <typemaps.i>

/* ---- errors ---- */

%{
static PyObject *error_class;

/* Returns without an exception only if there is no memory for one, which is then a MemoryError. */
static void
raise_error (rcvm_error *err)
{
  PyObject *exception = NULL, *value;
  int i;
  struct
  {
    const char *name;
    PyObject *value;
  } fields[] = {
    { "code", PyLong_FromLong (rcvm_error_get_code (err)) },
    { "errno", PyLong_FromLong (rcvm_error_get_errno (err)) },
    { "exit_code", PyLong_FromLong (rcvm_error_get_exit_code (err)) },
    { "stage", PyUnicode_FromString (rcvm_error_get_stage (err)) },
    { "code_name", PyUnicode_FromString (rcvm_code_name (rcvm_error_get_code (err))) },
    { "message", NULL },
  };
  const char *message = rcvm_error_get_message (err);

  value = PyUnicode_DecodeUTF8 (message, (Py_ssize_t) strlen (message), "surrogateescape");
  fields[5].value = value;
  rcvm_error_free (err);
  if (value)
    exception = PyObject_CallFunctionObjArgs (error_class, value, NULL);
  for (i = 0; i < (int) (sizeof fields / sizeof fields[0]); i++)
    {
      if (exception
          && (!fields[i].value
              || PyObject_SetAttrString (exception, fields[i].name, fields[i].value) < 0))
        Py_CLEAR (exception);
      Py_XDECREF (fields[i].value);
    }
  if (exception)
    {
      PyErr_SetObject (error_class, exception);
      Py_DECREF (exception);
    }
  else if (!PyErr_Occurred ())
    PyErr_NoMemory ();
}
%}

%init %{
  error_class = PyErr_NewExceptionWithDoc (
      "runcvm.Error",
      "A call of the library failed.\n\n"
      "code       one of runcvm.E_...\n"
      "code_name  its name, such as 'RCVM_E_NOT_FOUND'\n"
      "stage      where it failed: 'spec', 'rootfs', 'vmm', 'agent', ...\n"
      "errno      the errno of the failed system call, or 0\n"
      "message    one sentence: what failed and what to do\n"
      "exit_code  what a command line tool should exit with",
      NULL, NULL);
  if (!error_class)
    return NULL;
  Py_INCREF (error_class);
  if (PyModule_AddObject (m, "Error", error_class) < 0)
    return NULL;
%}

%pythoncode %{
Error = _raw.Error
%}

%typemap(in, numinputs = 0) rcvm_error **err (rcvm_error *error = NULL)
%{
  $1 = &error;
%}
/* An exception of a callback comes before the error that it led to. */
%typemap(argout) rcvm_error **err
%{
  if (*$1)
    {
      if (PyErr_Occurred ())
        rcvm_error_free (*$1);
      else
        raise_error (*$1);
      Py_CLEAR ($result);
      SWIG_fail;
    }
%}

/* ---- strings ---- */

%{
/* The text of a str, bytes or os.PathLike as bytes: a new reference, or NULL with an exception. */
static PyObject *
bytes_from (PyObject *object)
{
  PyObject *text = PyOS_FSPath (object), *bytes;
  char *unused;

  if (!text)
    return NULL;
  if (PyUnicode_Check (text))
    {
      bytes = PyUnicode_AsEncodedString (text, "utf-8", "surrogateescape");
      Py_DECREF (text);
    }
  else
    bytes = text;
  /* Without a length, this refuses a NUL byte inside. */
  if (bytes && PyBytes_AsStringAndSize (bytes, &unused, NULL) < 0)
    Py_CLEAR (bytes);
  return bytes;
}

static PyObject *
text_from (const char *s)
{
  if (!s)
    Py_RETURN_NONE;
  return PyUnicode_DecodeUTF8 (s, (Py_ssize_t) strlen (s), "surrogateescape");
}

/* A NULL-terminated array that borrows from `*owner`, a list of bytes. */
static char **
strv_from (PyObject *object, PyObject **owner)
{
  PyObject *sequence, *bytes;
  Py_ssize_t i, n;
  char **strv;

  if (PyUnicode_Check (object) || PyBytes_Check (object))
    {
      PyErr_SetString (PyExc_TypeError, "a sequence of strings is needed, not one string");
      return NULL;
    }
  sequence = PySequence_Fast (object, "a sequence of strings is needed");
  if (!sequence)
    return NULL;
  n = PySequence_Fast_GET_SIZE (sequence);
  *owner = PyList_New (n);
  strv = *owner ? PyMem_Calloc ((size_t) n + 1, sizeof *strv) : NULL;
  if (*owner && !strv)
    PyErr_NoMemory ();
  for (i = 0; strv && i < n; i++)
    {
      bytes = bytes_from (PySequence_Fast_GET_ITEM (sequence, i));
      if (!bytes)
        {
          PyMem_Free (strv);
          strv = NULL;
          break;
        }
      PyList_SET_ITEM (*owner, i, bytes);
      strv[i] = PyBytes_AS_STRING (bytes);
    }
  Py_DECREF (sequence);
  return strv;
}
%}

%typemap(in) const char * (PyObject *bytes = NULL)
%{
  $1 = NULL;
  if ($input != Py_None)
    {
      bytes = bytes_from ($input);
      if (!bytes)
        SWIG_fail;
      $1 = PyBytes_AS_STRING (bytes);
    }
%}
%typemap(freearg) const char *
%{
  Py_XDECREF (bytes$argnum);
%}
%typemap(typecheck) const char * "";

%typemap(out) const char *
%{
  $result = text_from ($1);
%}
/* Only the functions that return a string of the caller's return a plain `char *`. */
%typemap(out) char *
%{
  $result = text_from ($1);
  rcvm_free ($1);
%}

%typemap(arginit) char *const argv[]
%{
  $1 = NULL;
%}
%typemap(in) char *const argv[] (PyObject *owner = NULL)
%{
  $1 = NULL;
  if ($input != Py_None)
    {
      $1 = strv_from ($input, &owner);
      if (!$1)
        SWIG_fail;
    }
%}
%typemap(freearg) char *const argv[]
%{
  PyMem_Free ((void *) $1);
  Py_XDECREF (owner$argnum);
%}

/* Paths: as argv, but never None. */
%typemap(arginit) const char *const *layers
%{
  $1 = NULL;
%}
%typemap(in) const char *const *layers (PyObject *owner = NULL)
%{
  $1 = (char **) strv_from ($input, &owner);
  if (!$1)
    SWIG_fail;
%}
%typemap(freearg) const char *const *layers
%{
  PyMem_Free ((void *) $1);
  Py_XDECREF (owner$argnum);
%}

%apply char *const argv[] { char *const digests[] };

/* Comes back beside the text: (text, fd). */
%typemap(in, numinputs = 0) int *fd (int fd = -1)
%{
  $1 = &fd;
%}
%typemap(argout) int *fd
%{
  $result = $result ? Py_BuildValue ("(Ni)", $result, *$1) : NULL;
%}

%typemap(in, numinputs = 0) uint64_t *freed (uint64_t freed = 0)
%{
  $1 = &freed;
%}
%typemap(argout) uint64_t *freed
%{
  Py_XDECREF ($result);
  $result = PyLong_FromUnsignedLongLong (*$1);
%}

%typemap(in, numinputs = 0) int *exit_code (int code = 0)
%{
  $1 = &code;
%}
%typemap(argout) int *exit_code
%{
  Py_XDECREF ($result);
  $result = PyLong_FromLong (*$1);
%}

/* ---- callbacks ---- */

%{
static void
call_log (void *user, int level, const char *stage, const char *message)
{
  PyGILState_STATE gil = PyGILState_Ensure ();
  PyObject *type, *value, *trace, *stage_text, *message_text, *result = NULL;

  /* Logs are written while an error is on its way, too. */
  PyErr_Fetch (&type, &value, &trace);
  stage_text = text_from (stage);
  message_text = text_from (message);
  if (stage_text && message_text)
    result = PyObject_CallFunction (user, "iOO", level, stage_text, message_text);
  if (!result)
    PyErr_WriteUnraisable (user);
  Py_XDECREF (result);
  Py_XDECREF (stage_text);
  Py_XDECREF (message_text);
  PyErr_Restore (type, value, trace);
  PyGILState_Release (gil);
}

static void
free_log (void *user)
{
  PyGILState_STATE gil;

  /* A handle that outlives the interpreter: the object is gone with it. */
  if (!Py_IsInitialized ())
    return;
  gil = PyGILState_Ensure ();
  Py_DECREF ((PyObject *) user);
  PyGILState_Release (gil);
}

/* An exception cancels the build, and is raised by the call that builds. */
static int
call_progress (void *user, const char *phase, uint64_t files, uint64_t bytes)
{
  PyGILState_STATE gil = PyGILState_Ensure ();
  PyObject *result;
  int cancel = -1;

  if (!PyErr_Occurred ())
    {
      result = PyObject_CallFunction (user, "sKK", phase, (unsigned long long) files,
                                      (unsigned long long) bytes);
      if (result)
        {
          cancel = PyObject_IsTrue (result);
          Py_DECREF (result);
        }
    }
  PyGILState_Release (gil);
  return cancel;
}
%}

/* The library owns one reference from here on, whatever the call returns. */
%typemap(in) (rcvm_log_fn fn, void *user, rcvm_free_fn free_fn)
%{
  $1 = NULL;
  $2 = NULL;
  $3 = NULL;
  if ($input != Py_None)
    {
      if (!PyCallable_Check ($input))
        {
          PyErr_SetString (PyExc_TypeError, "the log function is not callable");
          SWIG_fail;
        }
      Py_INCREF ($input);
      $1 = call_log;
      $2 = $input;
      $3 = free_log;
    }
%}

/* The options only borrow the function: their owner keeps it (runcvm/__init__.py does). */
%typemap(in) (rcvm_progress_fn fn, void *user)
%{
  $1 = NULL;
  $2 = NULL;
  if ($input != Py_None)
    {
      if (!PyCallable_Check ($input))
        {
          PyErr_SetString (PyExc_TypeError, "the progress function is not callable");
          SWIG_fail;
        }
      $1 = call_progress;
      $2 = $input;
    }
%}

/* What the exception is made of stays inside; the typemaps free what there is to free. */
%ignore rcvm_error_get_code;
%ignore rcvm_error_get_errno;
%ignore rcvm_error_get_stage;
%ignore rcvm_error_get_message;
%ignore rcvm_error_get_exit_code;
%ignore rcvm_error_free;
%ignore rcvm_free;

%include <runcvm/error.h>
%include <runcvm/cache.h>
%include <runcvm/host.h>
%include <runcvm/net.h>
%include <runcvm/rootfs.h>
%include <runcvm/spec.h>
%include <runcvm/version.h>
%include <runcvm/vm.h>
%include <runcvm/volume.h>
%include <runcvm/process.h>
