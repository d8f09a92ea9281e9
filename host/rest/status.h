/* status.h - the statuses of HTTP and the phrases that go with them (RFC 9110 section 15, RFC 6585, RFC 4918). */
#ifndef REST_STATUS_H
#define REST_STATUS_H

const char *status_phrase(int status); /* "Not Found"; "" = not one of these */
#endif
