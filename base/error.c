#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *error, enum error_code code, const char *format, ...) {
  if (error) {
    va_list arguments;
    va_start(arguments, format);
    error->code = code;
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
  }
  return code;
}

int error_set_errno(struct error *error, enum error_code code, const char *format, ...) {
  const int number = errno;
  if (error) {
    va_list arguments;
    va_start(arguments, format);
    error->code = code;
    const int length = vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    if (length > 0 && (size_t)length < sizeof error->message)
      snprintf(error->message + length, sizeof error->message - (size_t)length, ": %s", strerror(number));
  }
  return code;
}

const char *error_name(enum error_code code) {
  switch (code) {
  case ERR_OK:
    return "ok";
  case ERR_NO_MEMORY:
    return "out of memory";
  case ERR_IO:
    return "I/O error";
  case ERR_CORRUPT:
    return "corrupt";
  case ERR_BAD_INPUT:
    return "bad input";
  case ERR_NOT_FOUND:
    return "not found";
  case ERR_NOT_PRIMARY:
    return "not primary";
  case ERR_OVERLOADED:
    return "overloaded";
  case ERR_NO_SPACE:
    return "no space";
  case ERR_UNAVAILABLE:
    return "unavailable";
  case ERR_TIMEOUT:
    return "time-out";
  case ERR_UNSUPPORTED:
    return "unsupported";
  case ERR_BUDGET:
    return "budget spent";
  }
  return "unknown error";
}
