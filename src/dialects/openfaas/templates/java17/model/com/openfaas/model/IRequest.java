package com.openfaas.model;

import java.util.Map;

public interface IRequest {
    String getBody();

    /** The body as it came; getBody() has it as UTF-8. */
    byte[] getBodyRaw();

    String getMethod();

    /** By any spelling of the name; null where there is none. */
    String getHeader(String name);

    Map<String, String> getHeaders();

    Map<String, String> getQuery();

    String getQueryRaw();

    /** Of /colour/red/size/9 the pairs colour=red, size=9. */
    Map<String, String> getPath();

    String getPathRaw();
}
