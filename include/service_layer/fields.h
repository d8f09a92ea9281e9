/* fields.h - JSON Schema as field lists: string macros whose result is the schema text that checks input and makes the
 * docs. */
#ifndef SERVICE_LAYER_FIELDS_H
#define SERVICE_LAYER_FIELDS_H

/* A schema is written like a list of fields:
 *
 *     #define THING SL_OBJECT(SL_REQUIRED("name", SL_STRING(1, 128), "Unique per account."), \
 *                             SL_OPTIONAL("enabled", SL_BOOLEAN SL_DEFAULT("true"), "Off: nothing is fetched."))
 *
 * An object refuses fields that it does not name. SL_REQUIRED writes "required": true into the field; the host gathers
 * these into the object's `required` list. Any other JSON Schema text that the host's subset knows may be used as a
 * type. */
#define SL_OBJECT(...) "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{" SL_JOIN(__VA_ARGS__) "}}"
/* The same, and at least one field must be there: for the body of a change. */
#define SL_CHANGE(...)                                                                                                 \
    "{\"type\":\"object\",\"minProperties\":1,\"additionalProperties\":false,\"properties\":{" SL_JOIN(__VA_ARGS__) "}}"
#define SL_FIELD(name, type, doc)    "\"" name "\":{" type ",\"description\":\"" doc "\""
#define SL_REQUIRED(name, type, doc) SL_FIELD(name, type, doc) ",\"required\":true}"
#define SL_OPTIONAL(name, type, doc) SL_FIELD(name, type, doc) "}"

#define SL_STRING(min, max)  "\"type\":\"string\",\"minLength\":" #min ",\"maxLength\":" #max
#define SL_NAME              "\"type\":\"string\",\"minLength\":1,\"maxLength\":128,\"pattern\":\"^[A-Za-z0-9][A-Za-z0-9._-]*$\""
#define SL_ID                "\"type\":\"string\",\"format\":\"uuid\""
#define SL_URL               "\"type\":\"string\",\"format\":\"uri\",\"minLength\":8,\"maxLength\":2048"
#define SL_TIME              "\"type\":[\"string\",\"null\"],\"format\":\"date-time\"" /* RFC 3339; microseconds in the store   */
#define SL_DURATION          "\"type\":\"string\",\"format\":\"duration\"" /* "15s"; milliseconds in the store       */
#define SL_MONEY             "\"type\":\"string\",\"format\":\"decimal\""  /* "6.5"; a count of 10^-8 in the store   */
#define SL_BASE64            "\"type\":\"string\",\"format\":\"byte\""     /* standard base64; a blob in the store   */
#define SL_BOOLEAN           "\"type\":\"boolean\""                        /* 0 or 1 in the store                    */
#define SL_INTEGER(min, max) "\"type\":\"integer\",\"minimum\":" #min ",\"maximum\":" #max
#define SL_ENUM(...)         "\"type\":\"string\",\"enum\":[" SL_QUOTED(__VA_ARGS__) "]"
#define SL_TEXT_OR_NULL      "\"type\":[\"string\",\"null\"]"
#define SL_LIST(type, max)   "\"type\":\"array\",\"maxItems\":" #max ",\"items\":{" type "}"
#define SL_MAP(type, max)    "\"type\":\"object\",\"maxProperties\":" #max ",\"additionalProperties\":{" type "}"
#define SL_ANY_OBJECT        "\"type\":\"object\""
/* As `out`: the answer is no JSON but text or bytes of this media type (or of one of these, with commas between). */
#define SL_CONTENT(media) "{\"type\":\"string\",\"contentMediaType\":\"" media "\"}"
#define SL_ANY            "\"type\":[\"object\",\"array\",\"string\",\"number\",\"boolean\",\"null\"]"
/* Behind a type: a default (JSON text), an example (JSON text), the environment variable that sets a config field. */
#define SL_DEFAULT(json) ",\"default\":" json
#define SL_EXAMPLE(json) ",\"example\":" json
#define SL_ENV(name)     ",\"x-env\":\"" name "\""
#define SL_SECRET        ",\"writeOnly\":true" /* never shown in the effective configuration, a log or a document */

/* ---- applying a macro to each of up to 32 arguments ---- */
#define SL_COUNT(...)                                                                                                  \
    SL_NTH(__VA_ARGS__, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, \
           8, 7, 6, 5, 4, 3, 2, 1, 0)
#define SL_NTH(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,    \
               a23, a24, a25, a26, a27, a28, a29, a30, a31, a32, n, ...)                                               \
    n
#define SL_CAT(a, b)          SL_CAT_(a, b)
#define SL_CAT_(a, b)         a##b
#define SL_EACH(m, ...)       SL_CAT(SL_EACH_, SL_COUNT(__VA_ARGS__))(m, __VA_ARGS__)
#define SL_EACH_1(m, a)       m(a)
#define SL_EACH_2(m, a, ...)  m(a), SL_EACH_1(m, __VA_ARGS__)
#define SL_EACH_3(m, a, ...)  m(a), SL_EACH_2(m, __VA_ARGS__)
#define SL_EACH_4(m, a, ...)  m(a), SL_EACH_3(m, __VA_ARGS__)
#define SL_EACH_5(m, a, ...)  m(a), SL_EACH_4(m, __VA_ARGS__)
#define SL_EACH_6(m, a, ...)  m(a), SL_EACH_5(m, __VA_ARGS__)
#define SL_EACH_7(m, a, ...)  m(a), SL_EACH_6(m, __VA_ARGS__)
#define SL_EACH_8(m, a, ...)  m(a), SL_EACH_7(m, __VA_ARGS__)
#define SL_EACH_9(m, a, ...)  m(a), SL_EACH_8(m, __VA_ARGS__)
#define SL_EACH_10(m, a, ...) m(a), SL_EACH_9(m, __VA_ARGS__)
#define SL_EACH_11(m, a, ...) m(a), SL_EACH_10(m, __VA_ARGS__)
#define SL_EACH_12(m, a, ...) m(a), SL_EACH_11(m, __VA_ARGS__)
#define SL_EACH_13(m, a, ...) m(a), SL_EACH_12(m, __VA_ARGS__)
#define SL_EACH_14(m, a, ...) m(a), SL_EACH_13(m, __VA_ARGS__)
#define SL_EACH_15(m, a, ...) m(a), SL_EACH_14(m, __VA_ARGS__)
#define SL_EACH_16(m, a, ...) m(a), SL_EACH_15(m, __VA_ARGS__)
#define SL_EACH_17(m, a, ...) m(a), SL_EACH_16(m, __VA_ARGS__)
#define SL_EACH_18(m, a, ...) m(a), SL_EACH_17(m, __VA_ARGS__)
#define SL_EACH_19(m, a, ...) m(a), SL_EACH_18(m, __VA_ARGS__)
#define SL_EACH_20(m, a, ...) m(a), SL_EACH_19(m, __VA_ARGS__)
#define SL_EACH_21(m, a, ...) m(a), SL_EACH_20(m, __VA_ARGS__)
#define SL_EACH_22(m, a, ...) m(a), SL_EACH_21(m, __VA_ARGS__)
#define SL_EACH_23(m, a, ...) m(a), SL_EACH_22(m, __VA_ARGS__)
#define SL_EACH_24(m, a, ...) m(a), SL_EACH_23(m, __VA_ARGS__)
#define SL_EACH_25(m, a, ...) m(a), SL_EACH_24(m, __VA_ARGS__)
#define SL_EACH_26(m, a, ...) m(a), SL_EACH_25(m, __VA_ARGS__)
#define SL_EACH_27(m, a, ...) m(a), SL_EACH_26(m, __VA_ARGS__)
#define SL_EACH_28(m, a, ...) m(a), SL_EACH_27(m, __VA_ARGS__)
#define SL_EACH_29(m, a, ...) m(a), SL_EACH_28(m, __VA_ARGS__)
#define SL_EACH_30(m, a, ...) m(a), SL_EACH_29(m, __VA_ARGS__)
#define SL_EACH_31(m, a, ...) m(a), SL_EACH_30(m, __VA_ARGS__)
#define SL_EACH_32(m, a, ...) m(a), SL_EACH_31(m, __VA_ARGS__)
#define SL_JOIN(...)          SL_CAT(SL_JOIN_, SL_COUNT(__VA_ARGS__))(__VA_ARGS__)
#define SL_JOIN_1(a)          a
#define SL_JOIN_2(a, ...)     a "," SL_JOIN_1(__VA_ARGS__)
#define SL_JOIN_3(a, ...)     a "," SL_JOIN_2(__VA_ARGS__)
#define SL_JOIN_4(a, ...)     a "," SL_JOIN_3(__VA_ARGS__)
#define SL_JOIN_5(a, ...)     a "," SL_JOIN_4(__VA_ARGS__)
#define SL_JOIN_6(a, ...)     a "," SL_JOIN_5(__VA_ARGS__)
#define SL_JOIN_7(a, ...)     a "," SL_JOIN_6(__VA_ARGS__)
#define SL_JOIN_8(a, ...)     a "," SL_JOIN_7(__VA_ARGS__)
#define SL_JOIN_9(a, ...)     a "," SL_JOIN_8(__VA_ARGS__)
#define SL_JOIN_10(a, ...)    a "," SL_JOIN_9(__VA_ARGS__)
#define SL_JOIN_11(a, ...)    a "," SL_JOIN_10(__VA_ARGS__)
#define SL_JOIN_12(a, ...)    a "," SL_JOIN_11(__VA_ARGS__)
#define SL_JOIN_13(a, ...)    a "," SL_JOIN_12(__VA_ARGS__)
#define SL_JOIN_14(a, ...)    a "," SL_JOIN_13(__VA_ARGS__)
#define SL_JOIN_15(a, ...)    a "," SL_JOIN_14(__VA_ARGS__)
#define SL_JOIN_16(a, ...)    a "," SL_JOIN_15(__VA_ARGS__)
#define SL_JOIN_17(a, ...)    a "," SL_JOIN_16(__VA_ARGS__)
#define SL_JOIN_18(a, ...)    a "," SL_JOIN_17(__VA_ARGS__)
#define SL_JOIN_19(a, ...)    a "," SL_JOIN_18(__VA_ARGS__)
#define SL_JOIN_20(a, ...)    a "," SL_JOIN_19(__VA_ARGS__)
#define SL_JOIN_21(a, ...)    a "," SL_JOIN_20(__VA_ARGS__)
#define SL_JOIN_22(a, ...)    a "," SL_JOIN_21(__VA_ARGS__)
#define SL_JOIN_23(a, ...)    a "," SL_JOIN_22(__VA_ARGS__)
#define SL_JOIN_24(a, ...)    a "," SL_JOIN_23(__VA_ARGS__)
#define SL_JOIN_25(a, ...)    a "," SL_JOIN_24(__VA_ARGS__)
#define SL_JOIN_26(a, ...)    a "," SL_JOIN_25(__VA_ARGS__)
#define SL_JOIN_27(a, ...)    a "," SL_JOIN_26(__VA_ARGS__)
#define SL_JOIN_28(a, ...)    a "," SL_JOIN_27(__VA_ARGS__)
#define SL_JOIN_29(a, ...)    a "," SL_JOIN_28(__VA_ARGS__)
#define SL_JOIN_30(a, ...)    a "," SL_JOIN_29(__VA_ARGS__)
#define SL_JOIN_31(a, ...)    a "," SL_JOIN_30(__VA_ARGS__)
#define SL_JOIN_32(a, ...)    a "," SL_JOIN_31(__VA_ARGS__)
#define SL_QUOTED(...)        SL_CAT(SL_QUOTED_, SL_COUNT(__VA_ARGS__))(__VA_ARGS__)
#define SL_QUOTED_1(a)        "\"" a "\""
#define SL_QUOTED_2(a, ...)   "\"" a "\"," SL_QUOTED_1(__VA_ARGS__)
#define SL_QUOTED_3(a, ...)   "\"" a "\"," SL_QUOTED_2(__VA_ARGS__)
#define SL_QUOTED_4(a, ...)   "\"" a "\"," SL_QUOTED_3(__VA_ARGS__)
#define SL_QUOTED_5(a, ...)   "\"" a "\"," SL_QUOTED_4(__VA_ARGS__)
#define SL_QUOTED_6(a, ...)   "\"" a "\"," SL_QUOTED_5(__VA_ARGS__)
#define SL_QUOTED_7(a, ...)   "\"" a "\"," SL_QUOTED_6(__VA_ARGS__)
#define SL_QUOTED_8(a, ...)   "\"" a "\"," SL_QUOTED_7(__VA_ARGS__)
#define SL_QUOTED_9(a, ...)   "\"" a "\"," SL_QUOTED_8(__VA_ARGS__)
#define SL_QUOTED_10(a, ...)  "\"" a "\"," SL_QUOTED_9(__VA_ARGS__)
#define SL_QUOTED_11(a, ...)  "\"" a "\"," SL_QUOTED_10(__VA_ARGS__)
#define SL_QUOTED_12(a, ...)  "\"" a "\"," SL_QUOTED_11(__VA_ARGS__)
#define SL_QUOTED_13(a, ...)  "\"" a "\"," SL_QUOTED_12(__VA_ARGS__)
#define SL_QUOTED_14(a, ...)  "\"" a "\"," SL_QUOTED_13(__VA_ARGS__)
#define SL_QUOTED_15(a, ...)  "\"" a "\"," SL_QUOTED_14(__VA_ARGS__)
#define SL_QUOTED_16(a, ...)  "\"" a "\"," SL_QUOTED_15(__VA_ARGS__)
#define SL_QUOTED_17(a, ...)  "\"" a "\"," SL_QUOTED_16(__VA_ARGS__)
#define SL_QUOTED_18(a, ...)  "\"" a "\"," SL_QUOTED_17(__VA_ARGS__)
#define SL_QUOTED_19(a, ...)  "\"" a "\"," SL_QUOTED_18(__VA_ARGS__)
#define SL_QUOTED_20(a, ...)  "\"" a "\"," SL_QUOTED_19(__VA_ARGS__)
#define SL_QUOTED_21(a, ...)  "\"" a "\"," SL_QUOTED_20(__VA_ARGS__)
#define SL_QUOTED_22(a, ...)  "\"" a "\"," SL_QUOTED_21(__VA_ARGS__)
#define SL_QUOTED_23(a, ...)  "\"" a "\"," SL_QUOTED_22(__VA_ARGS__)
#define SL_QUOTED_24(a, ...)  "\"" a "\"," SL_QUOTED_23(__VA_ARGS__)
#define SL_QUOTED_25(a, ...)  "\"" a "\"," SL_QUOTED_24(__VA_ARGS__)
#define SL_QUOTED_26(a, ...)  "\"" a "\"," SL_QUOTED_25(__VA_ARGS__)
#define SL_QUOTED_27(a, ...)  "\"" a "\"," SL_QUOTED_26(__VA_ARGS__)
#define SL_QUOTED_28(a, ...)  "\"" a "\"," SL_QUOTED_27(__VA_ARGS__)
#define SL_QUOTED_29(a, ...)  "\"" a "\"," SL_QUOTED_28(__VA_ARGS__)
#define SL_QUOTED_30(a, ...)  "\"" a "\"," SL_QUOTED_29(__VA_ARGS__)
#define SL_QUOTED_31(a, ...)  "\"" a "\"," SL_QUOTED_30(__VA_ARGS__)
#define SL_QUOTED_32(a, ...)  "\"" a "\"," SL_QUOTED_31(__VA_ARGS__)
#endif
