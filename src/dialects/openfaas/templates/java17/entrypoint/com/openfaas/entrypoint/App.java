package com.openfaas.entrypoint;

import com.openfaas.function.Handler;
import com.openfaas.model.IHandler;
import com.openfaas.model.IRequest;
import com.openfaas.model.IResponse;
import com.openfaas.model.Request;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Executors;

/** Serves the function's handler over HTTP. */
public final class App {
    private final IHandler handler = new Handler();

    public static void main(String[] parameters) throws IOException {
        // The watchdog keeps its connections; one closed from this side while it is taken up again would fail a call.
        System.setProperty("sun.net.httpserver.idleInterval", "3600");
        System.setProperty("sun.net.httpserver.maxIdleConnections", "1000");
        // Head and body of an answer are two writes: with Nagle's algorithm the second waits.
        System.setProperty("sun.net.httpserver.nodelay", "true");

        int port = Integer.parseInt(System.getenv().getOrDefault("http_port", "8082"));
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 1024);
        server.createContext("/", new App()::serve);
        server.setExecutor(Executors.newCachedThreadPool());
        Runtime.getRuntime().addShutdownHook(new Thread(() -> server.stop(5)));
        server.start();
        System.out.println("Listening on port " + port);
    }

    private void serve(HttpExchange exchange) throws IOException {
        try (exchange) {
            IResponse response;
            try {
                response = handler.Handle(read(exchange));
            } catch (Exception | LinkageError error) {
                error.printStackTrace();
                byte[] text = String.valueOf(error).getBytes(StandardCharsets.UTF_8);
                exchange.getResponseHeaders().set("Content-Type", "text/plain; charset=utf-8");
                send(exchange, 500, text);
                return;
            }
            if (response == null) {
                send(exchange, 200, new byte[0]);
                return;
            }
            response.getHeaders().forEach(exchange.getResponseHeaders()::set);
            String type = response.getContentType();
            if (type != null && !type.isEmpty()) exchange.getResponseHeaders().set("Content-Type", type);
            send(exchange, response.getStatusCode(), response.getBodyRaw());
        }
    }

    private static IRequest read(HttpExchange exchange) throws IOException {
        byte[] body = exchange.getRequestBody().readAllBytes();
        Map<String, String> headers = new HashMap<>();
        exchange.getRequestHeaders().forEach((name, values) -> headers.put(name, String.join(", ", values)));
        return new Request(
                body,
                headers,
                exchange.getRequestMethod(),
                exchange.getRequestURI().getRawQuery(),
                exchange.getRequestURI().getPath());
    }

    private static void send(HttpExchange exchange, int status, byte[] body) throws IOException {
        boolean bodiless = exchange.getRequestMethod().equals("HEAD") || status == 204 || status == 304;
        exchange.sendResponseHeaders(status, bodiless || body.length == 0 ? -1 : body.length);
        if (!bodiless && body.length > 0) exchange.getResponseBody().write(body);
    }
}
