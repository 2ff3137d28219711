package com.openfaas.model;

import java.util.Map;

public interface IResponse {
    String getBody();

    void setBody(String body);

    byte[] getBodyRaw();

    void setBodyRaw(byte[] body);

    String getHeader(String name);

    void setHeader(String name, String value);

    Map<String, String> getHeaders();

    String getContentType();

    void setContentType(String contentType);

    int getStatusCode();

    void setStatusCode(int statusCode);
}
