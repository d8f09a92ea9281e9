/* libpq.h - libpq, loaded when the store is PostgreSQL: it and what it needs cost some 5 ms and 3 MB. */
#ifndef STORE_LIBPQ_H
#define STORE_LIBPQ_H
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

/* clang-format off */
#define LIBPQ_FUNCTIONS(X) \
    X(PQbackendPID) X(PQcancel) X(PQclear) X(PQcmdStatus) X(PQcmdTuples) X(PQconnectdbParams) X(PQconninfoFree) \
    X(PQconninfoParse) X(PQconsumeInput) X(PQenterPipelineMode) X(PQerrorMessage) X(PQfinish) X(PQflush) \
    X(PQfname) X(PQfreeCancel) X(PQfreemem) X(PQftype) X(PQgetCancel) X(PQgetResult) X(PQgetisnull) X(PQgetlength) \
    X(PQgetvalue) X(PQisBusy) X(PQnfields) X(PQntuples) X(PQpipelineSync) X(PQresultErrorField) \
    X(PQresultErrorMessage) X(PQresultStatus) X(PQsendFlushRequest) X(PQsendPrepare) X(PQsendQueryParams) \
    X(PQsendQueryPrepared) X(PQsetNoticeReceiver) X(PQsetSingleRowMode) X(PQsetnonblocking) X(PQsocket) \
    X(PQsslInUse) X(PQsslStruct) X(PQstatus) X(PQtransactionStatus) X(PQunescapeBytea)
/* clang-format on */
struct libpq {
#define X(name) __typeof__(&(name)) name;
    LIBPQ_FUNCTIONS(X)
#undef X
};
extern struct libpq libpq;
/* Before any of them is called; again is harmless. false: it cannot be loaded. Blocks for milliseconds. */
bool libpq_load(char *why, size_t why_size);

/* clang-format off */
#define PQbackendPID         libpq.PQbackendPID
#define PQcancel             libpq.PQcancel
#define PQclear              libpq.PQclear
#define PQcmdStatus          libpq.PQcmdStatus
#define PQcmdTuples          libpq.PQcmdTuples
#define PQconnectdbParams    libpq.PQconnectdbParams
#define PQconninfoFree       libpq.PQconninfoFree
#define PQconninfoParse      libpq.PQconninfoParse
#define PQconsumeInput       libpq.PQconsumeInput
#define PQenterPipelineMode  libpq.PQenterPipelineMode
#define PQerrorMessage       libpq.PQerrorMessage
#define PQfinish             libpq.PQfinish
#define PQflush              libpq.PQflush
#define PQfname              libpq.PQfname
#define PQfreeCancel         libpq.PQfreeCancel
#define PQfreemem            libpq.PQfreemem
#define PQftype              libpq.PQftype
#define PQgetCancel          libpq.PQgetCancel
#define PQgetResult          libpq.PQgetResult
#define PQgetisnull          libpq.PQgetisnull
#define PQgetlength          libpq.PQgetlength
#define PQgetvalue           libpq.PQgetvalue
#define PQisBusy             libpq.PQisBusy
#define PQnfields            libpq.PQnfields
#define PQntuples            libpq.PQntuples
#define PQpipelineSync       libpq.PQpipelineSync
#define PQresultErrorField   libpq.PQresultErrorField
#define PQresultErrorMessage libpq.PQresultErrorMessage
#define PQresultStatus       libpq.PQresultStatus
#define PQsendFlushRequest   libpq.PQsendFlushRequest
#define PQsendPrepare        libpq.PQsendPrepare
#define PQsendQueryParams    libpq.PQsendQueryParams
#define PQsendQueryPrepared  libpq.PQsendQueryPrepared
#define PQsetNoticeReceiver  libpq.PQsetNoticeReceiver
#define PQsetSingleRowMode   libpq.PQsetSingleRowMode
#define PQsetnonblocking     libpq.PQsetnonblocking
#define PQsocket             libpq.PQsocket
#define PQsslInUse           libpq.PQsslInUse
#define PQsslStruct          libpq.PQsslStruct
#define PQstatus             libpq.PQstatus
#define PQtransactionStatus  libpq.PQtransactionStatus
#define PQunescapeBytea      libpq.PQunescapeBytea
/* clang-format on */
#endif
